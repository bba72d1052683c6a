-- Several messages a connection, each judged alone, and a virus in between; aborts in each stage.
mt.set_timeout(20)
local conn = mt.connect(socket)
assert(conn, "cannot connect")
assert(mt.conninfo(conn, "client.test", "192.0.2.9") == nil)
assert(mt.helo(conn, "client.test") == nil)

local function message(body)
    assert(mt.mailfrom(conn, "<sender@client.test>") == nil)
    assert(mt.rcptto(conn, "<user@example.test>") == nil)
    assert(mt.getreply(conn) == SMFIR_CONTINUE, "RCPT")
    assert(mt.header(conn, "Subject", " hello") == nil)
    assert(mt.eoh(conn) == nil)
    assert(mt.bodystring(conn, body) == nil)
    assert(mt.getreply(conn) == SMFIR_CONTINUE, "body")
    assert(mt.eom(conn) == nil)
    return mt.getreply(conn)
end

for _ = 1, 3 do
    assert(message("all is well\r\n") == SMFIR_CONTINUE, "clean mail is not taken")
    assert(message(eicar .. "\r\n") == SMFIR_REPLYCODE, "a virus is not refused")
end

local stages = {
    function() return mt.mailfrom(conn, "<sender@client.test>") end,
    function() return mt.rcptto(conn, "<user@example.test>") end,
    function() return mt.header(conn, "Subject", " virus") end,
    function() return mt.eoh(conn) end,
    function() return mt.bodystring(conn, eicar .. "\r\n") end,
}
for last = 1, #stages do
    for stage = 1, last do
        assert(stages[stage]() == nil, "stage " .. stage)
    end
    assert(mt.abort(conn) == nil, "abort")
    assert(message("all is well\r\n") == SMFIR_CONTINUE, "after an abort in stage " .. last)
end
mt.disconnect(conn)
