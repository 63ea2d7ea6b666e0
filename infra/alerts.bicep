// Alerts on the log. Each runs its query every quarter of an hour, and fires when a row is returned.
// Its section in docs/operations.md says what to do.

param location string
param tags object
param workspaceId string
@description('Where alerts are sent. Empty: nowhere.')
param alertEmail string
param appUrl string

// Severity: 1 error, 2 warning, 3 information. A window covers two runs at least, since lines may come late.
// mute: mail again after this while the query finds something, and never mail that it ended. Null: mail
// when it begins, and when it has ended. saved: the title of the query in workbook.bicep to look at.
var alerts = [
  {
    name: 'sweep-failed'
    title: 'Redeliver: a sweep failed'
    severity: 1
    window: 'PT30M'
    mute: null
    query: loadTextContent('alerts/sweep-failed.kql')
    saved: 'Outcomes per sweep'
  }
  {
    name: 'no-sweep'
    title: 'Redeliver: the next sweep is late'
    severity: 1
    window: 'P2D'
    mute: 'P1D'
    query: loadTextContent('alerts/no-sweep.kql')
    saved: 'Outcomes per sweep'
  }
  {
    name: 'graph-denies'
    title: 'Redeliver: Graph denies the app'
    severity: 1
    window: 'PT30M'
    mute: null
    query: loadTextContent('alerts/graph-denies.kql')
    saved: 'Why requests were not accepted'
  }
  {
    name: 'attempts-exhausted'
    title: 'Redeliver: a request used up its attempts, or its window closed'
    severity: 2
    window: 'P2D'
    mute: 'PT1H'
    query: loadTextContent('alerts/attempts-exhausted.kql')
    saved: 'Requests that need a person'
  }
  {
    name: 'window-closing'
    title: 'Redeliver: a window closes within 48 hours'
    severity: 2
    window: 'P2D'
    mute: 'PT1H'
    query: loadTextContent('alerts/window-closing.kql')
    saved: 'Requests that need a person'
  }
  {
    name: 'list-incomplete'
    title: 'Redeliver: a sweep could not read the whole list'
    severity: 2
    window: 'PT30M'
    mute: null
    query: loadTextContent('alerts/list-incomplete.kql')
    saved: 'Failing requests over time'
  }
  {
    name: 'still-dry'
    title: 'Redeliver: only dry runs for a day'
    severity: 3
    window: 'P2D'
    mute: null
    query: loadTextContent('alerts/still-dry.kql')
    saved: 'Failing requests over time'
  }
]

resource receivers 'Microsoft.Insights/actionGroups@2023-01-01' = if (!empty(alertEmail)) {
  name: 'redeliver'
  location: 'global'
  tags: tags
  properties: {
    enabled: true
    groupShortName: 'redeliver'
    emailReceivers: [
      { name: 'operators', emailAddress: alertEmail, useCommonAlertSchema: true }
    ]
  }
}

resource rules 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [
  for alert in alerts: {
    name: 'redeliver-${alert.name}'
    location: location
    tags: tags
    kind: 'LogAlert'
    properties: {
      displayName: alert.title
      description: 'Page: ${appUrl}/api/report. Query: ${alert.saved}. What to do: docs/operations.md#${alert.name}'
      severity: alert.severity
      enabled: true
      scopes: [workspaceId]
      evaluationFrequency: 'PT15M'
      windowSize: alert.window
      criteria: {
        allOf: [
          {
            query: alert.query
            timeAggregation: 'Count'
            operator: 'GreaterThan'
            threshold: 0
            failingPeriods: { numberOfEvaluationPeriods: 1, minFailingPeriodsToAlert: 1 }
          }
        ]
      }
      autoMitigate: alert.mute == null
      muteActionsDuration: alert.mute
      skipQueryValidation: true // a new workspace does not know its tables yet
      actions: { actionGroups: empty(alertEmail) ? [] : [receivers.id] }
    }
  }
]
