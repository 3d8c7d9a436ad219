-- Health of a Printer, for Argo CD: whether the farm can use it. A bed that waits to be cleared is daily work and makes no
-- printer ill; it is told.
local function answer(status, message)
  return { status = status, message = message }
end

local status = obj.status
if status == nil or status.conditions == nil then
  return answer("Progressing", "the operator has not looked at this printer yet")
end
if status.observedGeneration ~= obj.metadata.generation then
  return answer("Progressing", "the operator has not read the last change yet")
end

local conditions = {}
for _, condition in ipairs(status.conditions) do
  conditions[condition.type] = condition
end

local ready = conditions.Ready
if ready == nil or ready.status == "Unknown" or ready.reason == "BeingDeleted" then
  return answer("Progressing", ready and ready.message or "the operator has not said yet whether it can use this printer")
end
if ready.status ~= "True" then
  return answer("Degraded", ready.reason .. ": " .. ready.message)
end
if obj.spec.unschedulable then
  return answer("Suspended", "gets no new jobs: " .. (obj.spec.unschedulableReason or "unschedulable"))
end

local bed = conditions.BedCleared
if bed ~= nil and bed.status ~= "True" and bed.reason ~= "PrintInProgress" then
  return answer("Healthy", bed.message)
end
return answer("Healthy", status.state)
