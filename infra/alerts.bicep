// Alerts on the log. Each looks every quarter of an hour, and fires when its query returns a row.
// Its section in docs/operations.md says what to do.

param location string
param tags object
param workspaceId string
param sweepPeriodMinutes int
@description('Where alerts are sent. Empty: nowhere.')
param alertEmail string

// Severity: 1 error, 2 warning, 3 information. A window covers two looks at least, since lines may come late.
var alerts = [
  {
    name: 'sweep-failed'
    title: 'Redeliver: a sweep failed'
    severity: 1
    window: 'PT30M'
    query: loadTextContent('alerts/sweep-failed.kql')
  }
  {
    name: 'no-sweep'
    title: 'Redeliver: no sweep for two periods'
    severity: 1
    window: 'P2D'
    query: replace(
      loadTextContent('alerts/no-sweep.kql'),
      'let period = 15m;',
      'let period = ${sweepPeriodMinutes}m;'
    )
  }
  {
    name: 'graph-denies'
    title: 'Redeliver: Graph denies the app'
    severity: 1
    window: 'PT30M'
    query: loadTextContent('alerts/graph-denies.kql')
  }
  {
    name: 'given-up'
    title: 'Redeliver: a request was given up, or its window closed'
    severity: 2
    window: 'P2D'
    query: loadTextContent('alerts/given-up.kql')
  }
  {
    name: 'window-closing'
    title: 'Redeliver: a window closes within 48 hours'
    severity: 2
    window: 'P2D'
    query: loadTextContent('alerts/window-closing.kql')
  }
  {
    name: 'list-not-whole'
    title: 'Redeliver: the list was not whole'
    severity: 2
    window: 'PT30M'
    query: loadTextContent('alerts/list-not-whole.kql')
  }
  {
    name: 'still-dry'
    title: 'Redeliver: for a day there were only dry runs'
    severity: 3
    window: 'P2D'
    query: loadTextContent('alerts/still-dry.kql')
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
      description: 'What to do: docs/operations.md#${alert.name}'
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
      autoMitigate: true
      skipQueryValidation: true // a new workspace does not know its tables yet
      actions: { actionGroups: empty(alertEmail) ? [] : [receivers.id] }
    }
  }
]
