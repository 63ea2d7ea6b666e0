#Requires -Version 7.0
<#
.SYNOPSIS
Has one request reprocessed and waits until the delivery has ended.
.DESCRIPTION
Set REDELIVER_URL (https://<app>.azurewebsites.net) and REDELIVER_KEY (a function key) first.
Returns the last answer; throws the detail of a problem. While the app asks to wait, it waits and says so,
for -Minutes at most.
.EXAMPLE
./Reprocess.ps1 -RequestId c4a1e7d2-0b95-4f38-b6e0-3d8f92a7154b -DryRun
#>
param(
    [Parameter(Mandatory)] [guid] $RequestId,
    [switch] $DryRun,
    [ValidateRange(1, 1440)] [int] $Minutes = 60
)
$ErrorActionPreference = 'Stop'
if (-not $env:REDELIVER_URL -or -not $env:REDELIVER_KEY) {
    throw 'REDELIVER_URL and REDELIVER_KEY should be set'
}
$always = @{ Headers = @{ 'x-functions-key' = $env:REDELIVER_KEY }; SkipHttpErrorCheck = $true; TimeoutSec = 90 }
$query = if ($DryRun) { '?dryRun=true' } else { '' }
$status = "$env:REDELIVER_URL/api/requests/$RequestId" # where an answer without Location leads
$until = (Get-Date).AddMinutes($Minutes)

$answer = Invoke-WebRequest @always -Method Post -Uri "$env:REDELIVER_URL/api/requests/$RequestId/reprocess$query"
$polling = $answer.StatusCode -eq 202
# 202: on its way. While polling, 429, 502, 503 and 504 only say that the status could not be read now.
while ($polling -and $answer.StatusCode -in 202, 429, 502, 503, 504) {
    $location = "$($answer.Headers['Location'])"
    if ($location) { $status = $location }
    $seconds = 0
    if (-not [int]::TryParse("$($answer.Headers['Retry-After'])", [ref] $seconds) -or $seconds -lt 1) { $seconds = 30 }
    if ((Get-Date).AddSeconds($seconds) -gt $until) {
        throw "the delivery has not ended within $Minutes minutes (last status $($answer.StatusCode)); look at $status"
    }
    Write-Host "$($answer.StatusCode): not ended yet, looking again in $seconds seconds"
    Start-Sleep -Seconds $seconds
    $answer = Invoke-WebRequest @always -Method Get -Uri $status
}
# A problem's content type is not JSON's own, so the content may come as bytes.
$text = if ($answer.Content -is [byte[]]) { [Text.Encoding]::UTF8.GetString($answer.Content) } else { $answer.Content }
if ($answer.StatusCode -ne 200) {
    if (-not $text) { throw "$($answer.StatusCode): the Functions host refused the call; check the function key" }
    # What stands in front of the app may answer with text or HTML.
    try { $problem = $text | ConvertFrom-Json } catch { throw "$($answer.StatusCode): $text" }
    throw "$($problem.type): $($problem.detail) (correlation id $($problem.instance))"
}
$text | ConvertFrom-Json
