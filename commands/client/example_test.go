package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
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
		request, err := commands.DecodeRequest(text, commands.DefaultBodyLimits)
		if err != nil {
			problem.Write(w, problem.From(err))
			return
		}
		var answers [][]byte
		for _, item := range request.Items {
			cmd := item.Command
			view := commands.CommandView{ID: cmd.ID, Stream: stream, Type: cmd.Type, Status: commands.StatusLanded,
				Position: commands.Position{Epoch: "e1", N: 2}, Version: 2, Ticket: cmd.ID}
			var refused *problem.Problem
			switch {
			case cmd.Type == "fly":
				refused = problem.New(commands.PolicyForbidden, "An order takes any for assign_owner alone.")
			case cmd.Ticket != head:
				view.Version, view.Ticket, view.Detail = 1, head, "Ann added a line."
				view.Reason, view.Root, view.RootReason = commands.StaleTicket, cmd.ID, commands.StaleTicket
				refused = problem.Rejected(&view)
			}
			switch {
			case refused == nil:
				answers = append(answers, view.AppendTo(nil))
			case request.Array:
				answers = append(answers, refused.AppendTo(nil))
			default:
				problem.Write(w, refused)
				return
			}
		}
		answer := bytes.Join(answers, []byte(","))
		if request.Array {
			answer = slices.Concat([]byte("["), answer, []byte("]"))
		}
		_, _ = w.Write(answer)
	})
	mux.HandleFunc("GET /v1/commands", func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, `[{"id":%q,"status":"unknown"}]`, r.FormValue("id"))
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

func ExampleClient_SendAll() {
	c, _ := client.New(client.Config{BaseURL: demo.URL})
	order := commands.Stream{Type: "order", ID: "42"}
	now, _ := c.Stream(context.Background(), order)
	for _, result := range c.SendAll(context.Background(), []commands.Command{
		{Stream: order, Type: "add_line", Ticket: now.Ticket},
		{Stream: order, Type: "add_line", Ticket: commands.Genesis},
		{Stream: order, Type: "fly"},
	}, client.SendOptions{Wait: time.Second}) {
		refused, ok := errors.AsType[*client.RefusedError](result.Err)
		if ok {
			fmt.Println("refused", refused.Problem.Code)
			continue
		}
		fmt.Println(result.Command.Status, "at version", result.Command.Version)
	}
	// Output:
	// landed at version 2
	// rejected at version 1
	// refused policy_forbidden
}

func ExampleClient_Status() {
	c, _ := client.New(client.Config{BaseURL: demo.URL})
	views, err := c.Status(context.Background(), commands.NewID())
	fmt.Println(views[0].Status, err)
	// Output: unknown <nil>
}
