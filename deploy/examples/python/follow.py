"""Keeps a table of all orders, from the events that Doorman tells over RabbitMQ.

    python3 follow.py

The table is in a SQLite file, and with each order how far it is: the sequence of its last event. Both are saved together,
and only then is the event acknowledged. So this may be killed at any moment: what was not acknowledged comes again, and
what was saved already is known by its sequence.
"""

import argparse
import json
import os
import signal
import sqlite3
import sys
import urllib.error
import urllib.request

from shop import DOORMAN, FOLDER, PREFIX, SHOP, connect, run

EVENTS = PREFIX + ".events"
QUEUE = SHOP + ".events"  # our own; each service has one
ORDERS = os.path.join(FOLDER, "orders.db")

TABLE = """create table if not exists orders (
    stream text primary key, sequence integer not null, source text not null, status text not null, lines text not null)"""


def apply(order, kind, data):
    """What an event makes of an order. /asyncapi.json has all of them, and what is in each."""
    lines = order["lines"]
    if kind == "line_added":
        lines[data["sku"]] = {"qty": data["qty"], "price_cents": data["price_cents"]}
    elif kind == "line_changed":
        lines[data["sku"]]["qty"] = data["qty"]
    elif kind == "line_removed":
        del lines[data["sku"]]
    elif kind in ("submitted", "approved", "refused"):
        order["status"] = kind
    # Any other, owner_assigned and those to come, changes nothing here, and counts all the same.


def changelog(stream, after):
    """What happened on a stream, over HTTP: for what was before our queue, and for what it had no room for."""
    while True:
        try:
            with urllib.request.urlopen(f"{DOORMAN}/v1/streams/{stream}/events?after={after}") as answer:
                page = json.load(answer)
        except (urllib.error.URLError, ValueError) as error:
            sys.exit(f"the changelog of {stream} cannot be read at {DOORMAN} ({error}): DOORMAN_URL says where Doorman is")
        if not page:
            return
        yield from page
        after = page[-1]["version"]


def take(db, headers, body):
    """Brings the table up to an event. Taking it again changes nothing."""
    stream, sequence, source = headers["cloudEvents_subject"], int(headers["cloudEvents_sequence"]), headers["cloudEvents_source"]
    row = db.execute("select sequence, source, status, lines from orders where stream = ?", (stream,)).fetchone()
    known, of, status, lines = row or (0, source, "draft", "{}")
    if of != source:
        sys.exit(f"{stream} is of {of} here, and now comes {source}: that is another log, so begin with another file")
    if sequence <= known:
        return  # a repeat
    order = {"status": status, "lines": json.loads(lines)}
    if sequence == known + 1:
        apply(order, headers["cloudEvents_type"], json.loads(body))
    else:  # something is missing in between
        for change in changelog(stream, known):
            apply(order, change["type"], change["data"])
            sequence = max(sequence, change["version"])
    db.execute("insert or replace into orders values (?, ?, ?, ?, ?)",
               (stream, sequence, source, order["status"], json.dumps(order["lines"])))


def main():
    argparse.ArgumentParser().parse_args()  # there are no options
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    db = sqlite3.connect(ORDERS)
    db.execute(TABLE)
    channel, _ = connect(EVENTS)
    # A quorum queue survives the loss of a broker. It grows while we are away: bound it (x-max-length), and see in
    # README.md what happens when it is full.
    channel.queue_declare(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
    channel.queue_bind(QUEUE, EVENTS, "order.*")
    channel.basic_qos(prefetch_count=100)

    def on_event(channel, method, properties, body):
        with db:  # one transaction; on an error nothing is saved, nor acknowledged
            take(db, properties.headers, body)
        channel.basic_ack(method.delivery_tag)

    channel.basic_consume(QUEUE, on_event)
    print("following", flush=True)
    channel.start_consuming()


if __name__ == "__main__":
    run(main)
