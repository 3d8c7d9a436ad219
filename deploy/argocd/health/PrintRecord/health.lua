-- Health of a PrintRecord, for Argo CD, which shows it where it lists what it does not manage. A memory is never ill: whether
-- the print went well is the health of its job.
local status = obj.status
if status == nil or status.outcome == nil then
  return { status = "Healthy", message = "printing on " .. obj.spec.printedOn .. ", or not known yet how it ended" }
end
return { status = "Healthy", message = status.outcome .. " on " .. obj.spec.printedOn }
