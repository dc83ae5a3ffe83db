"""The page's addresses: what a browser may ask for, and what it gets. A picture is named by its number, never by a path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flask import Blueprint, Flask, Response, abort, current_app, jsonify, request
from werkzeug.exceptions import HTTPException

from ppdet_ext.errors import UserError
from ppdet_ext.pages.colours import FIXED, class_colour
from ppdet_ext.pages.environment import render, style

from .catalogue import Item
from .decisions import PICTURE
from .exports import CHOICES
from .predictions import SOME_TIME, URGENT
from .rows import columns, details, keys
from .security import guard
from .session import Session
from .thumbnails import whole_picture

HERE = Path(__file__).parent
UPLOAD_BYTES, REQUEST_BYTES = 64 << 20, 1 << 20
_MOST_DETAILS = 100
_COARSE = 1.0  # px that outlines on tiles may deviate
_MOST_CHANGED = 2000  # pictures of one answer; the rest comes with the next
_KEPT = "private, max-age=86400, immutable"
routes = Blueprint("view", __name__)


def create_app(session: Session, listening: str = "127.0.0.1") -> Flask:
    """The application of a session. listening: the address it will be served at."""
    app = Flask("ppdet_ext.viewer", static_folder=None, template_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = REQUEST_BYTES
    app.extensions["session"] = session
    guard(app, listening)
    app.register_blueprint(routes)
    app.register_error_handler(UserError, lambda error: (jsonify(error=str(error)), 400))
    app.register_error_handler(HTTPException, _http_error)
    return app


def _http_error(error: HTTPException) -> tuple[Response, int]:
    return jsonify(error=error.description or error.name), error.code or 500


def _session() -> Session:
    return current_app.extensions["session"]


def _item(number: int) -> Item:
    item = _session().catalogue.get(number)
    if item is None:
        abort(404, f"There is no picture {number}.")
    return item


@routes.get("/")
def page() -> Response:
    """The page itself; everything else it asks for."""
    return Response(render("view.html", HERE / "templates", title=_session().title), mimetype="text/html")


@routes.get("/style.css")
def shared_style() -> Response:
    """The style of all pages of the project."""
    return Response(str(style()), mimetype="text/css")


@routes.get("/view.css")
def own_style() -> Response:
    """What this page adds to it."""
    return Response((HERE / "static" / "view.css").read_bytes(), mimetype="text/css")


@routes.get("/<any('view.js','gallery.js','picture.js','data.js'):name>")
def script(name: str) -> Response:
    """Its scripts, modules without a build step."""
    return Response((HERE / "static" / name).read_bytes(), mimetype="text/javascript")


@routes.get("/api/state")
def state() -> Response:
    """What holds for the whole page."""
    session = _session()
    classes = [{"name": _text(name), "colour": class_colour(label)} for label, name in enumerate(session.class_names)]
    return jsonify(
        title=session.title,
        token=session.token,
        classes=classes,
        colours=FIXED,
        score=session.score,
        mm=session.mm_per_pixel,
        model=session.model_name,
        watch=str(session.watch.folder) if session.watch is not None else "",
        formats=session.exports.formats,
        choices=CHOICES,
        upload=UPLOAD_BYTES,
    )


@routes.get("/api/index")
def index() -> Response:
    """Columns of all pictures."""
    return _columns(0, None)


@routes.get("/api/changes")
def changes() -> Response:
    """Columns of the pictures that changed after version `since`."""
    return _columns(_number("since"), _MOST_CHANGED)


def _columns(since: int, most: int | None) -> Response:
    session = _session()
    version, items = session.catalogue.since(since)
    if most is not None and len(items) > most:
        # By version, so that the next question gets the rest.
        items = sorted(items, key=lambda item: item.version)[:most]
        last = items[-1].version
        version, items = last, [item for item in session.catalogue.since(since)[1] if item.version <= last]
    progress = {"token": session.token, "waiting": session.worker.waiting, "loading": session.worker.loading}
    progress |= {"predicts": session.worker.can_predict, "compared": session.compared.is_set()}
    return jsonify(version=version, pictures=columns(items, session.decisions), **progress)


@routes.get("/api/pictures")
def pictures() -> Response:
    """Objects of the pictures whose numbers `ids` lists, of the score `least` or more, with coarse outlines for tiles."""
    session, text = _session(), request.args.get("ids", "")
    least = request.args.get("least", 0.0, float)
    numbers = [int(part) for part in text.split(",") if part.isdecimal()][:_MOST_DETAILS]
    items = [item for number in numbers if (item := session.catalogue.get(number)) is not None]
    return jsonify([details(item, session.decisions, session.class_names, least, _COARSE) for item in items])


@routes.get("/api/objects/<int:number>")
def objects(number: int) -> Response:
    """All objects of a picture, exactly."""
    session = _session()
    return jsonify([details(_item(number), session.decisions, session.class_names)])


@routes.get("/thumb/<int:number>")
def thumb(number: int) -> Response:
    """A small JPEG of a picture."""
    return _picture(_session().thumbnails.of(_item(number)), "image/jpeg")


@routes.get("/picture/<int:number>")
def picture(number: int) -> Response:
    """A picture at its full size."""
    return _picture(*whole_picture(_item(number), _session().reading))


def _picture(content: bytes, mime: str) -> Response:
    # A browser may keep it for as long as this server runs: the next one may have another picture of this number.
    own = request.args.get("s") == _session().token
    return Response(content, mimetype=mime, headers={"Cache-Control": _KEPT if own else "no-store"})


@routes.post("/api/decide")
def decide() -> Response:
    """Note a verdict, a note or a class on an object: {number, key, verdict?, note?, class?}."""
    session, given = _session(), _json()
    number, key = given.pop("number", None), given.pop("key", None)
    if not isinstance(number, int) or isinstance(number, bool) or not isinstance(key, str):
        abort(400, "A decision has the number of a picture and the key of an object.")
    item = _item(number)
    if key != PICTURE and key not in keys(item, session.class_names):
        abort(409, f"{_text(item.name)} has no such object any more. Look at it again.")
    session.decisions.decide(item.name, key, given)
    session.catalogue.change(item, lambda own: None)
    return jsonify(decisions=session.decisions.of(item.name), decided=session.decisions.counts(item.name))


@routes.post("/api/predict")
def predict() -> Response:
    """Have pictures predicted: {numbers: [...]}, {urgent: true} before others; or {all: true}."""
    session, given = _session(), _json()
    if given.get("all"):
        return jsonify(asked=session.worker.ask(list(session.catalogue.items), SOME_TIME))
    numbers = given.get("numbers")
    if not isinstance(numbers, list) or not all(isinstance(number, int) for number in numbers):
        abort(400, "Which pictures? Give their numbers.")
    chosen = [_item(number) for number in numbers]
    return jsonify(asked=session.worker.ask(chosen, URGENT if given.get("urgent") else SOME_TIME))


@routes.post("/api/drop")
def drop() -> Response:
    """Take a picture: the body is the file, `name` of the address its name."""
    request.max_content_length = UPLOAD_BYTES
    item = _session().drop(request.args.get("name", "picture"), request.get_data(cache=False))
    return jsonify(number=item.number)


@routes.post("/api/export")
def export() -> Response:
    """A file of what was decided: {format, choice, score}."""
    given = _json()
    score = given.get("score", 0)
    if not isinstance(score, (int, float)) or not 0 <= score <= 1:
        abort(400, "A score is a number from 0 to 1.")
    file = _session().exports.file(str(given.get("format")), str(given.get("choice")), float(score))
    return Response(file.content, mimetype=file.mime, headers={"Content-Disposition": f'attachment; filename="{file.name}"'})


def _json() -> dict[str, Any]:
    given = request.get_json(silent=True)
    if not isinstance(given, dict):
        abort(400, "The request is no JSON object.")
    return given


def _number(name: str) -> int:
    text = request.args.get(name, "0")
    return int(text) if text.isdecimal() else 0


def _text(name: str) -> str:
    """A name with what is no UTF-8 replaced."""
    return name.encode(errors="replace").decode()
