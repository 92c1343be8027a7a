// Command go is a service in Go that uses Doorman over RabbitMQ, with Watermill's own watermill-amqp and nothing of
// Doorman's:
//
//	go run . send -orders 10   // sends orders, and sees each of them through
//	go run . follow            // keeps a table of all orders, from the events
//
// Each keeps what it must not forget in a JSON file, and may be killed at any moment and started again.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	// On SIGTERM it ends between two messages; on kill -9 wherever it is, which is as good.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		text := strings.Join(strings.Fields(err.Error()), " ") // on one line
		fmt.Fprintln(os.Stderr, text)
		os.Exit(1) //nolint:gocritic // the process is over, and with it what is deferred
	}
}

func run(ctx context.Context, args []string) error {
	if info, err := os.Stat(folder); err != nil || !info.IsDir() {
		return fmt.Errorf("there is no folder %s: SHOP_FOLDER names the one to keep files in", folder)
	}
	switch {
	case len(args) > 0 && args[0] == "send":
		return send(ctx, args[1:])
	case len(args) > 0 && args[0] == "follow":
		return follow(ctx, args[1:])
	}
	return errors.New("say what to do: send or follow")
}

// parse reads a command line that has options alone.
func parse(flags *flag.FlagSet, args []string) error {
	_ = flags.Parse(args) // it exits
	if flags.NArg() > 0 {
		return fmt.Errorf("what is %s meant to say?", strings.Join(flags.Args(), " "))
	}
	return nil
}

// setting is an environment variable, or what it is without one.
func setting(name, otherwise string) string { return cmp.Or(os.Getenv(name), otherwise) }

var (
	brokerURL = setting("AMQP_URL", "amqp://guest:guest@127.0.0.1:5672")
	prefix    = setting("DOORMAN_RABBITMQ_PREFIX", "doorman") // of Doorman's exchanges
	shop      = setting("SHOP", "shop")                       // of our own queues
	doorman   = setting("DOORMAN_URL", "http://127.0.0.1:8080")
	folder    = setting("SHOP_FOLDER", ".")
)
