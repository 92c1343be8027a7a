package intake_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/intake"
)

// An intake knows neither types nor bus nor store: each is handed in as a function.
func Example() {
	door, err := intake.New(intake.Config{
		Allows: func(streamType string, policy commands.Policy, _ string) (known, allowed bool) {
			return streamType == "order", policy != commands.PolicyAny
		},
		Send: func(env *commands.Envelope, done func(error)) {
			fmt.Println("sent:", env.Stream, env.Type, env.Policy, env.Ticket)
			done(nil)
		},
		SendAll:    func([]*commands.Envelope, func(int, error)) {},
		Refusal:    func(error) commands.Reason { return commands.Unavailable },
		Register:   func(commands.ID, commands.Hash) (intake.Waiter, bool) { return nil, false },
		Mark:       func() uint64 { return 0 },
		Conflicted: func(uint64, commands.ID, commands.Hash) bool { return false },
		Tell: func(_ context.Context, o *commands.Outcome) (commands.CommandView, error) {
			return commands.ViewOutcome("e1", o), nil
		},
	})
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.Handle("POST /v1/commands", door)

	r := httptest.NewRequest("POST", "/v1/commands", strings.NewReader(`{"stream":"order/42","type":"submit"}`))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Idempotency-Key", "0197c3a2-7b1e-7c44-9d1f-52d4a6b0c9e1")
	r.Header.Set("If-Match", `"0197c3a2-7a90-7be0-8f00-0d6b3c1a2f77"`)
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	fmt.Println(w.Code, w.Body)
	// Output:
	// sent: order/42 submit strict 0197c3a2-7a90-7be0-8f00-0d6b3c1a2f77
	// 202 {"id":"0197c3a2-7b1e-7c44-9d1f-52d4a6b0c9e1","stream":"order/42","status":"accepted"}
}
