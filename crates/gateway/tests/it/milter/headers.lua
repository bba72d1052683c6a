-- Which header field lands where: spam is marked, foreign fields of our names go, the third recipient gets nothing.
mt.set_timeout(20)
local conn = mt.connect(socket)
assert(conn, "cannot connect")
assert(mt.conninfo(conn, "client.test", "192.0.2.9") == nil)
assert(mt.mailfrom(conn, "<sender@client.test>") == nil)
for _, recipient in ipairs({ "<user@example.test>", "<other@example.test>", "<strict@example.test>" }) do
    assert(mt.rcptto(conn, recipient) == nil)
    assert(mt.getreply(conn) == SMFIR_CONTINUE, recipient)
end
for _, field in ipairs({ { "X-Virus-Scanned", " first" }, { "Subject", " hello" }, { "X-Virus-Scanned", " second" } }) do
    assert(mt.header(conn, field[1], field[2]) == nil)
end
assert(mt.eoh(conn) == nil)
assert(mt.bodystring(conn, gtube .. "\r\n") == nil)
assert(mt.eom(conn) == nil)
assert(mt.getreply(conn) == SMFIR_CONTINUE, "end of message")
assert(mt.eom_check(conn, MT_HDRCHANGE, "Subject", " [SPAM] hello"), "the subject is not marked")
assert(mt.eom_check(conn, MT_HDRDELETE, "X-Virus-Scanned"), "foreign fields stay")
assert(mt.eom_check(conn, MT_HDRINSERT, "X-Spam-Flag", " YES", 1), "no flag above all that came")
assert(mt.eom_check(conn, MT_RCPTDELETE, "<strict@example.test>"), "the strict one gets it")
assert(mt.eom_check(conn, MT_RCPTDELETE, "<user@example.test>"), "user keeps the address without extension")
assert(mt.eom_check(conn, MT_RCPTADD, "<user+spam@example.test>"), "no extension")
assert(mt.eom_check(conn, MT_RCPTADD, "<other+spam@example.test>"), "no extension for the other")
assert(not mt.eom_check(conn, MT_RCPTADD, "<strict+spam@example.test>"), "the strict one is added")
mt.disconnect(conn)
