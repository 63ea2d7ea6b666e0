"""The app that the Functions host loads: two blueprints registered, nothing else."""

import azure.functions as func

from reprocess_http import blueprint as http_blueprint
from reprocess_timer import blueprint as timer_blueprint

app = func.FunctionApp()
app.register_functions(http_blueprint)
app.register_functions(timer_blueprint)
