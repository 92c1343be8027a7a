package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/client"
	"github.com/ticketed/doorman/commands/problem"
)

// demo is a server that knows one order, which somebody has changed since it was at genesis.
var demo = func() *httptest.Server {
	stream := commands.Stream{Type: "order", ID: "42"}
	head, _ := commands.ParseID("0197c3a2-7a90-7be0-8f00-0d6b3c1a2f77")
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/commands", func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		cmd, err := commands.Decode(text)
		switch {
		case err != nil:
			problem.Write(w, problem.From(err))
		case cmd.Type == "fly":
			problem.Write(w, problem.New(commands.PolicyForbidden, "An order takes any for assign_owner alone."))
		case cmd.Ticket == head:
			view := commands.CommandView{ID: cmd.ID, Stream: stream, Type: cmd.Type, Status: commands.StatusLanded,
				Position: commands.Position{Epoch: "e1", N: 2}, Version: 2, Ticket: cmd.ID}
			_, _ = w.Write(view.AppendTo(nil))
		default:
			view := commands.CommandView{ID: cmd.ID, Stream: stream, Version: 1, Ticket: head, Root: cmd.ID,
				Reason: commands.StaleTicket, RootReason: commands.StaleTicket, Detail: "Ann added a line."}
			problem.Write(w, problem.Rejected(&view))
		}
	})
	mux.HandleFunc("GET /v1/streams/order/42", func(w http.ResponseWriter, _ *http.Request) {
		view := commands.StreamView{Stream: stream, Version: 1, Ticket: head, State: []byte(`{"lines":1}`)}
		_, _ = w.Write(view.AppendTo(nil))
	})
	return httptest.NewServer(mux)
}()

func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := client.New(client.Config{BaseURL: demo.URL})
	if err != nil {
		panic(err)
	}
	cmd := commands.Command{
		Stream: commands.Stream{Type: "order", ID: "42"}, Type: "add_line", Ticket: commands.Genesis,
		Data: []byte(`{"sku":"A1","qty":2}`),
	}
	for {
		told, err := c.Send(ctx, cmd, client.SendOptions{Wait: 5 * time.Second})
		if err != nil {
			panic(err)
		}
		fmt.Println(told.Status, told.Reason, told.Detail)
		if told.Status != commands.StatusRejected {
			return
		}
		cmd.Ticket = told.Ticket // a person would look at what was missed first
	}
	// Output:
	// rejected stale_ticket Ann added a line.
	// landed
}

func ExampleClient_Send() {
	c, _ := client.New(client.Config{BaseURL: demo.URL})
	_, err := c.Send(context.Background(), commands.Command{
		Stream: commands.Stream{Type: "order", ID: "42"}, Type: "fly", Policy: commands.PolicyAny,
	}, client.SendOptions{})
	var refused *client.RefusedError
	var unknown *client.FateUnknownError
	switch {
	case errors.As(err, &refused):
		fmt.Println("nothing happened:", refused.Problem.Code)
	case errors.As(err, &unknown):
		fmt.Println("send it again with the id", unknown.ID)
	}
	// Output: nothing happened: policy_forbidden
}
