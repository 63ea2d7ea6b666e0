#Requires -Version 7.0
<#
.SYNOPSIS
Has one request reprocessed and waits for the end of the delivery.
.DESCRIPTION
Set REDELIVER_URL (https://<app>.azurewebsites.net) and REDELIVER_KEY (a function key) first.
Returns the last answer; throws the detail of a problem.
.EXAMPLE
./Reprocess.ps1 -RequestId c4a1e7d2-0b95-4f38-b6e0-3d8f92a7154b -DryRun
#>
param(
    [Parameter(Mandatory)] [guid] $RequestId,
    [switch] $DryRun
)
$ErrorActionPreference = 'Stop'
if (-not $env:REDELIVER_URL -or -not $env:REDELIVER_KEY) {
    throw 'REDELIVER_URL and REDELIVER_KEY should be set'
}
$always = @{ Headers = @{ 'x-functions-key' = $env:REDELIVER_KEY }; SkipHttpErrorCheck = $true; TimeoutSec = 90 }
$query = if ($DryRun) { '?dryRun=true' } else { '' }

$answer = Invoke-WebRequest @always -Method Post -Uri "$env:REDELIVER_URL/api/requests/$RequestId/reprocess$query"
while ($answer.StatusCode -eq 202) {
    Start-Sleep -Seconds ([int]"$($answer.Headers['Retry-After'])")
    $answer = Invoke-WebRequest @always -Method Get -Uri "$($answer.Headers['Location'])"
}
# A problem's content type is not JSON's own, so the content may come as bytes.
$text = if ($answer.Content -is [byte[]]) { [Text.Encoding]::UTF8.GetString($answer.Content) } else { $answer.Content }
if ($answer.StatusCode -ne 200) {
    if (-not $text) { throw "$($answer.StatusCode): the caller was refused; check the function key" }
    # What stands in front of the app may answer with text or HTML.
    try { $problem = $text | ConvertFrom-Json } catch { throw "$($answer.StatusCode): $text" }
    throw "$($problem.type): $($problem.detail) (correlation id $($problem.instance))"
}
$text | ConvertFrom-Json
