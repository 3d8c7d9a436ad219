-- Health of a PrintJob, for Argo CD. Healthy is a job that printed its part, or was cancelled in Git; Degraded is one that
-- ended without a part, or that gets no further without a person. A job that was printed before, and that Git has created
-- again, has nothing left to do. One that fits no printer waits: whoever loads a spool or adds a printer lets it go on, and
-- its message says what is missing.
local function answer(status, message)
  return { status = status, message = message }
end

local status = obj.status
if status == nil or status.phase == nil then
  return answer("Progressing", "the operator has not looked at this job yet")
end
if status.observedGeneration ~= obj.metadata.generation then
  return answer("Progressing", "the operator has not read the last change yet")
end

local message = status.message or status.phase
if status.waitingFor == "AlreadyPrinted" then
  return answer("Healthy", message)
end
if status.phase == "Succeeded" then
  return answer("Healthy", "printed")
end
if status.phase == "Cancelled" then
  local asked = obj.spec.desiredState == "Cancel"
  return answer(asked and "Healthy" or "Degraded", message)
end
if status.phase == "Failed" or status.phase == "AttentionNeeded" then
  return answer("Degraded", message)
end
if status.waitingFor == "PausedAtPrinter" then
  return answer("Degraded", status.waitingFor .. ": " .. message)
end
if status.phase == "Held" or status.phase == "Paused" then
  return answer("Suspended", message)
end

for _, condition in ipairs(status.conditions or {}) do
  if condition.type == "Stalled" and condition.status == "True" then
    return answer("Degraded", condition.reason .. ": " .. condition.message)
  end
end
if status.phase == "Printing" and status.progress ~= nil then
  return answer("Progressing", "printing, " .. status.progress.percent .. " %")
end
if status.waitingFor == "NoMatchingPrinter" then
  return answer("Progressing", status.waitingFor .. ": " .. message)
end
return answer("Progressing", message)
