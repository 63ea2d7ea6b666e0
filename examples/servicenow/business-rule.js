// Business rule "Reprocess in Entra": table Incident, when async, on insert and update,
// condition: u_entra_request_id changes and is not empty.
(function executeRule(current, previous) {
    var id = String(current.getValue('u_entra_request_id') || '').trim();
    if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(id)) {
        return note('The Entra request id should be a GUID: ' + id);
    }
    try {
        var message = new sn_ws.RESTMessageV2('Redeliver', 'Reprocess');
        message.setStringParameterNoEscape('requestId', id);
        message.setRequestBody('{}'); // so that there is a Content-Length
        message.setHttpTimeout(90000); // the app may spend 60 seconds on Graph
        var response = message.execute();
        var status = response.getStatusCode();
        var answer = parsed(response.getBody());
        if (status === 200 || status === 202) {
            note('Redeliver: ' + answer.outcome + '. ' + answer.detail);
        } else {
            // A problem: type says which, detail what to do, instance finds it in the app's log.
            note('Redeliver refused (' + status + ', ' + (answer.type || 'no detail') + '). '
                + (answer.detail || 'Check the function key.') + ' ' + (answer.instance || ''));
        }
    } catch (error) {
        // Nothing is lost: the app's sweep finds every failed request by itself.
        gs.error('Redeliver could not be called for ' + id + ': ' + error);
        note('Redeliver could not be called; its next sweep takes the request.');
    }

    // What stands in front of the app may answer with text or HTML.
    function parsed(body) {
        try {
            return JSON.parse(body) || {};
        } catch (error) {
            return { detail: String(body || '').substring(0, 200) };
        }
    }

    function note(text) {
        current.work_notes = text;
        current.update();
    }
})(current, previous);
