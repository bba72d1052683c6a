-- Every stage of one message, what was negotiated, and what is asked for at the end.
mt.set_timeout(20)
local conn = mt.connect(socket)
assert(conn, "cannot connect")
assert(mt.negotiate(conn, nil, nil, nil) == nil)

-- Only what is needed.
for name, wanted in pairs({
    ADDHDRS = SMFIF_ADDHDRS, CHGHDRS = SMFIF_CHGHDRS, CHGBODY = SMFIF_CHGBODY, ADDRCPT = SMFIF_ADDRCPT,
    DELRCPT = SMFIF_DELRCPT, ADDRCPT_PAR = SMFIF_ADDRCPT_PAR, SETSYMLIST = SMFIF_SETSYMLIST,
}) do
    assert(mt.test_action(conn, wanted), name .. " was not asked for")
end
assert(not mt.test_action(conn, SMFIF_QUARANTINE), "QUARANTINE was asked for")
assert(not mt.test_action(conn, SMFIF_CHGFROM), "CHGFROM was asked for")
for name, wanted in pairs({ NODATA = SMFIP_NODATA, NOUNKNOWN = SMFIP_NOUNKNOWN, NR_HDR = SMFIP_NR_HDR,
    NR_EOH = SMFIP_NR_EOH, LEADSPC = SMFIP_HDR_LEADSPC }) do
    assert(mt.test_option(conn, wanted), name .. " was not asked for")
end
for name, unwanted in pairs({ NOCONNECT = SMFIP_NOCONNECT, NOHELO = SMFIP_NOHELO, NOBODY = SMFIP_NOBODY,
    RCPT_REJ = SMFIP_RCPT_REJ, NR_RCPT = SMFIP_NR_RCPT, NR_BODY = SMFIP_NR_BODY }) do
    assert(not mt.test_option(conn, unwanted), name .. " was asked for")
end

mt.macro(conn, SMFIC_CONNECT, "j", "mx.example.test", "{client_addr}", "192.0.2.9")
assert(mt.conninfo(conn, "client.test", "192.0.2.9") == nil)
assert(mt.helo(conn, "client.test") == nil)
mt.macro(conn, SMFIC_MAIL, "i", "QUEUEID", "{auth_authen}", "alice")
assert(mt.mailfrom(conn, "<sender@client.test>", "SIZE=100", "BODY=8BITMIME") == nil)
assert(mt.rcptto(conn, "<user@example.test>", "NOTIFY=NEVER") == nil)
assert(mt.getreply(conn) == SMFIR_CONTINUE, "RCPT")
assert(mt.header(conn, "Subject", " hello") == nil)
assert(mt.eoh(conn) == nil)
assert(mt.bodystring(conn, "all is well\r\n") == nil)
assert(mt.getreply(conn) == SMFIR_CONTINUE, "body")
assert(mt.eom(conn) == nil)
assert(mt.getreply(conn) == SMFIR_CONTINUE, "end of message")
assert(mt.eom_check(conn, MT_HDRINSERT, "X-Virus-Scanned"), "no header")
assert(not mt.eom_check(conn, MT_HDRADD, "X-Virus-Scanned"), "a header without a place")
assert(not mt.eom_check(conn, MT_BODYCHANGE), "another body")
assert(not mt.eom_check(conn, MT_RCPTDELETE, "<user@example.test>"), "a recipient is gone")
mt.disconnect(conn)
