"""What both programs need: where everything is, and one line, with exit code 1, for what is not there."""

import logging
import os
import sqlite3
import sys

try:
    import pika
    import pika.exceptions
except ModuleNotFoundError:
    sys.exit(f"{sys.executable} has no pika: what apt-get installs as python3-pika is for /usr/bin/python3")

URL = os.environ.get("AMQP_URL", "amqp://guest:guest@127.0.0.1:5672")
PREFIX = os.environ.get("DOORMAN_RABBITMQ_PREFIX", "doorman")  # of Doorman's exchanges
DOORMAN = os.environ.get("DOORMAN_URL", "http://127.0.0.1:8080")
SHOP = os.environ.get("SHOP", "shop")  # of our own queues
FOLDER = os.environ.get("SHOP_FOLDER", ".")

logging.getLogger("pika").setLevel(logging.CRITICAL)  # it logs what it raises as well, several times


def connect(exchange):
    """A channel, and its connection, to a RabbitMQ that has an exchange of Doorman's."""
    try:
        parameters = pika.URLParameters(URL)
    except (ValueError, IndexError):
        sys.exit("AMQP_URL is no address such as amqp://guest:guest@127.0.0.1:5672")
    try:
        connection = pika.BlockingConnection(parameters)
    except (pika.exceptions.AMQPError, OSError) as error:
        sys.exit(f"no connection to RabbitMQ at {parameters.host}:{parameters.port} ({str(error) or 'nobody answers'}): "
                 "AMQP_URL says where it is")
    channel = connection.channel()
    try:
        channel.exchange_declare(exchange, passive=True)  # makes none, and fails without one
    except pika.exceptions.ChannelClosedByBroker as error:
        sys.exit(f"there is no exchange {exchange} ({error.reply_text}): does Doorman run on this RabbitMQ, and is "
                 "DOORMAN_RABBITMQ_PREFIX what its names begin with?")
    return channel, connection


def run(main):
    """Runs a program. Errors that are not met here are mistakes in it, and show where."""
    if not os.path.isdir(FOLDER):
        sys.exit(f"there is no folder {FOLDER}: SHOP_FOLDER names the one to keep files in")
    try:
        main()
    except sqlite3.OperationalError as error:
        sys.exit(f"the file in {FOLDER}: {error}")
    except (pika.exceptions.UnroutableError, pika.exceptions.NackError):
        sys.exit(f"{PREFIX}.commands does not take what is sent: its queue is missing or full; start me again later")
    except pika.exceptions.AMQPChannelError as error:
        sys.exit(f"RabbitMQ refuses: {error}")
    except pika.exceptions.AMQPConnectionError:
        sys.exit("the connection was lost: start me again")
