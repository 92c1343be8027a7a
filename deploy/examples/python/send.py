"""Sends orders to Doorman over RabbitMQ, and sees each of them through.

    python3 send.py --orders 10

A command is written into a file before it is sent, and struck off when its outcome has come back. So this may be killed
at any moment and started again: what is not struck off is sent again under the same id, which has no second effect, and
is answered again.
"""

import argparse
import json
import os
import sqlite3
import time
import uuid

from shop import FOLDER, PREFIX, SHOP, connect, pika, run

COMMANDS = PREFIX + ".commands"
REPLIES = SHOP + ".replies"  # a queue of our own
OUTBOX = os.path.join(FOLDER, "outbox.db")


def uuid7():
    """An id that rises with time, as Doorman's indexes like it. Any UUID will do; it is made by who sends."""
    bits = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    bits = bits & ~(0xF << 76) | 7 << 76  # version 7
    bits = bits & ~(3 << 62) | 2 << 62  # RFC 9562's variant
    return str(uuid.UUID(int=bits))


def command(stream, kind, ticket, data):
    return {"id": uuid7(), "stream": stream, "type": kind, "ticket": ticket, "actor": "send.py", "data": data}


class Outbox:
    """All commands that were ever to be sent, with what came of them. Use it as a context: one transaction each."""

    def __init__(self, path):
        self.db = sqlite3.connect(path)
        self.db.execute("create table if not exists commands (id text primary key, step text, body text, outcome text)")

    def put(self, step, command):
        self.db.execute("insert into commands values (?, ?, ?, null)", (command["id"], step, json.dumps(command)))

    def strike_off(self, id, outcome):
        """Gives the step and the command; nothing when it was struck off before, since answers can come twice."""
        row = self.db.execute("select step, body from commands where id = ? and outcome is null", (id,)).fetchone()
        if row is None:
            return None
        self.db.execute("update commands set outcome = ? where id = ?", (outcome, id))
        return row[0], json.loads(row[1])

    def left(self):
        rows = self.db.execute("select body from commands where outcome is null order by rowid")
        return [json.loads(body) for (body,) in rows]


def begin(outbox, orders):
    """Two lines for each new order. The second one's ticket is the id of the first, so that nobody has to wait for the
    answer to the first. They may arrive in any order: of one order we send them in the wrong one. Its second command
    waits for its predecessor, and lands after it."""
    for n in range(orders):
        stream = "order/" + uuid7()
        first = command(stream, "add_line", "genesis", {"sku": "A1", "qty": 2, "price_cents": 1250})
        second = command(stream, "add_line", first["id"], {"sku": "B2", "qty": 1, "price_cents": 300})
        for step, c in [("two lines", second), ("one line", first)] if n == 0 else [("one line", first), ("two lines", second)]:
            outbox.put(step, c)


def next_step(step, sent, reply):
    """What to send after an outcome; nothing when the order is through, or other answers are to come first."""
    if reply["status"] == "landed":
        if step == "two lines":
            # Somebody who looked at the order when it had one line: the ticket is that of then.
            return "changed", command(sent["stream"], "change_line", sent["ticket"], {"sku": "A1", "qty": 3})
        if step == "changed":
            return "submitted", command(sent["stream"], "submit", reply["ticket"], {})
        return None
    if reply["reason"] == "stale_ticket":
        # Somebody came first. The answer says who did what that we had not seen (missed), how things stand now (state),
        # and the ticket to try again with. Whether it still makes sense to try is for you to judge; here it does. It is
        # a new command: under the old id the answer stays the same for ever.
        seen = ", ".join(change["type"] for change in reply["missed"])
        print(f"{sent['stream']}: {sent['type']} came after {seen}; again with ticket {reply['ticket']}", flush=True)
        return step, command(sent["stream"], sent["type"], reply["ticket"], sent["data"])
    raise SystemExit(f"{sent['stream']}: {sent['type']} was rejected as {reply['reason']}: {reply['detail']}")


def settle(channel, outbox):
    channel.confirm_delivery()  # publishing returns when the broker has the message on disk, or raises
    # Durable, so that answers wait for us when we are away.
    channel.queue_declare(REPLIES, durable=True, arguments={"x-queue-type": "quorum"})

    def publish(c):
        # mandatory: it raises when no queue takes the message. Otherwise that would be confirmed too, and lost.
        channel.basic_publish(COMMANDS, "", json.dumps(c), mandatory=True, properties=pika.BasicProperties(
            content_type="application/json", delivery_mode=2, reply_to=REPLIES, correlation_id=c["id"]))

    for c in outbox.left():
        publish(c)
    if not outbox.left():
        return
    for method, properties, body in channel.consume(REPLIES):
        if properties.content_type == "application/problem+json":  # it was refused: nothing happened, nothing is remembered
            raise SystemExit(f"{properties.correlation_id} was refused: {body.decode()}")
        reply, follows = json.loads(body), None
        with outbox.db:  # struck off, and what follows put in: both or nothing
            known = outbox.strike_off(properties.correlation_id, body.decode())
            if known:
                follows = next_step(*known, reply)
            if follows:
                outbox.put(*follows)
        # Only now. Would we die before this line, the answer came again, and would be known.
        channel.basic_ack(method.delivery_tag)
        if follows:
            publish(follows[1])
        if not outbox.left():
            return


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--orders", type=int, default=10)
    arguments = arguments.parse_args()
    outbox = Outbox(OUTBOX)
    with outbox.db:
        if outbox.db.execute("select count(*) from commands").fetchone() == (0,):
            begin(outbox, arguments.orders)
    channel, connection = connect(COMMANDS)
    settle(channel, outbox)
    connection.close()
    print("all is settled", flush=True)


if __name__ == "__main__":
    run(main)
