package client_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/client"
)

// news is a server that tells of one order, and breaks the connection off after each landing.
var news = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	told := map[string]string{
		"":    `{"stream":"order/42","version":1,"ticket":"genesis","position":"e-1","command":{"type":"create","actor":"Ann"}}`,
		"e-1": `{"stream":"order/42","version":2,"ticket":"genesis","position":"e-2","command":{"type":"add_line","actor":"Bob"}}`,
		"e-2": `{"stream":"order/42","version":3,"ticket":"genesis","position":"e-3","command":{"type":"submit","actor":"Ann"}}`,
	}
	next := map[string]string{"": "e-1", "e-1": "e-2", "e-2": "e-3"}
	after := r.FormValue("after")
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprintf(w, "event: state\ndata: %s\nid: %s\n\n", told[after], next[after])
}))

func ExampleClient_Follow() {
	c, _ := client.New(client.Config{BaseURL: news.URL})
	order := commands.Stream{Type: "order", ID: "42"}
	for push, err := range c.Follow(context.Background(), client.Watch{Streams: client.All(order)}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		if push.Event != commands.PushState {
			continue
		}
		fmt.Println(push.State.Stream, "version", push.State.Version, push.State.Command.Type, "by", push.State.Command.Actor)
		if push.State.Version == 3 {
			return
		}
	}
	// Output:
	// order/42 version 1 create by Ann
	// order/42 version 2 add_line by Bob
	// order/42 version 3 submit by Ann
}
