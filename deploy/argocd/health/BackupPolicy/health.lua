-- Health of a BackupPolicy, for Argo CD: whether backups are made, and are proven, as it says. Degraded is one that could not
-- keep its promise today. One that has not run yet is healthy as soon as it can: no sync waits for the night.
local function answer(status, message)
  return { status = status, message = message }
end

local status = obj.status
if status == nil or status.conditions == nil then
  return answer("Progressing", "the operator has not looked at this policy yet")
end
if status.observedGeneration ~= obj.metadata.generation then
  return answer("Progressing", "the operator has not read the last change yet")
end

local conditions = {}
for _, condition in ipairs(status.conditions) do
  conditions[condition.type] = condition
end

local ready = conditions.Ready
if ready == nil or ready.status == "Unknown" then
  return answer("Progressing", ready and ready.message or "the operator has not said yet whether this policy can run")
end
if ready.status ~= "True" then
  return answer("Degraded", ready.reason .. ": " .. ready.message)
end

-- The first that does not hold, the worst first.
for _, name in ipairs({
  "IntegrityVerified", "RestoreVerified", "RecoveryPointObjectiveMet", "LastBackupSucceeded", "TargetReachable",
  "RecoveryTimeObjectiveMet",
}) do
  local condition = conditions[name]
  if condition ~= nil and condition.status == "False" then
    return answer("Degraded", condition.reason .. ": " .. condition.message)
  end
end
if obj.spec.suspend then
  return answer("Suspended", "no backup is made by itself")
end
if status.lastSuccessfulTime == nil then
  return answer("Healthy", "no backup has been made yet")
end
return answer("Healthy", "the newest recovery point is of " .. status.lastSuccessfulTime)
