-- A listed client, refused at the stage that is given.
mt.set_timeout(20)
local function client(ip)
    local conn = mt.connect(socket)
    assert(conn, "cannot connect")
    assert(mt.conninfo(conn, "client.test", ip) == nil)
    return conn
end

local conn = client("192.0.2.9")
if stage == "connect" then
    assert(mt.getreply(conn) == SMFIR_REPLYCODE, "not refused at connect")
else
    assert(mt.helo(conn, "client.test") == nil)
    assert(mt.mailfrom(conn, "<sender@client.test>") == nil)
    for _, recipient in ipairs({ "<user@example.test>", "<other@example.test>" }) do
        assert(mt.rcptto(conn, recipient) == nil)
        assert(mt.getreply(conn) == SMFIR_REPLYCODE, "not refused at RCPT")
    end
end
mt.disconnect(conn)

conn = client("192.0.2.10")
assert(mt.mailfrom(conn, "<sender@client.test>") == nil)
assert(mt.rcptto(conn, "<user@example.test>") == nil)
assert(mt.getreply(conn) == SMFIR_CONTINUE, "a client that is not listed is refused")
assert(mt.bodystring(conn, "all is well\r\n") == nil)
assert(mt.eom(conn) == nil)
assert(mt.getreply(conn) == SMFIR_CONTINUE, "end of message")
mt.disconnect(conn)
