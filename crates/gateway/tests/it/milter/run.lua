-- Runs a script and says what is wrong with it; miltertest itself only exits with 1.
local fine, problem = pcall(dofile, script)
if not fine then
    mt.echo(tostring(problem))
    error(problem)
end
