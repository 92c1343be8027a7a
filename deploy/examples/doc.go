// Package examples has programs that use Doorman over RabbitMQ as other services do, in the folders below: in Python, for
// Node.js, and in Go with Watermill's own AMQP client. README.md is the page to follow. They know RabbitMQ and nothing of
// Doorman's code; the tests here run them by the page's commands, and kill them while they are at it.
package examples
