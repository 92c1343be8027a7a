package vetting_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/vetting"
)

var made = commands.ID{1, 2, 3}

func rules() *vetting.Rules {
	return &vetting.Rules{
		Allows: func(streamType string, policy commands.Policy, command string) (bool, bool) {
			return streamType == "order", policy != commands.PolicyAny || command == "assign_owner"
		},
		Limits: commands.DefaultBodyLimits,
		NewID:  func() commands.ID { return made },
	}
}

// vet reads a body and checks all of it.
func vet(t *testing.T, body string) []*vetting.Entry {
	t.Helper()
	r := rules()
	read, refused := r.Decode([]byte(body))
	require.Nil(t, refused)
	var entries []*vetting.Entry
	for i := range read.Items {
		e := &vetting.Entry{}
		e.Read(&read.Items[i])
		entries = append(entries, e)
	}
	switch {
	case read.Array:
		r.CheckArray(entries)
	case entries[0].Refused == nil:
		r.Check(entries[0])
	}
	return entries
}

// DESIGN section 3: the refusals that can be tied to one command.
func TestWhatSpeaksAgainstACommandIsTold(t *testing.T) {
	t.Parallel()
	const id = "0197c3a2-7b1e-7c44-9d1f-52d4a6b0c9e1"
	for body, code := range map[string]commands.Reason{
		`{"stream":"order/42","type":"submit","ticket":"genesis"}`:                   "",
		`{"stream":"order/42","type":"assign_owner","policy":"any"}`:                 "",
		`{"id":"` + id + `","stream":"order/42","type":"submit","ticket":"genesis"}`: "",
		`{"stream":"order/42","type":"submit","policy":"any"}`:                       commands.PolicyForbidden,
		`{"stream":"order/42","type":"submit"}`:                                      commands.TicketRequired,
		`{"stream":"invoice/1","type":"submit","ticket":"genesis"}`:                  commands.UnknownType,
		`{"stream":"order/42","type":"submit","ticket":"last"}`:                      commands.Malformed,
	} {
		e := vet(t, body)[0]
		if code == "" {
			require.Nil(t, e.Refused, body)
			require.NotEqual(t, commands.None, e.Env.ID, body)
			continue
		}
		require.NotNil(t, e.Refused, body)
		require.Equal(t, code, e.Refused.Code, body)
		require.Equal(t, e.Env.Stream, e.Refused.Stream, body)
	}
}

func TestAForbiddenPolicyComesWithThoseThatAreAllowed(t *testing.T) {
	t.Parallel()
	e := vet(t, `{"stream":"order/42","type":"submit","policy":"any"}`)[0]
	require.Equal(t, []string{"ticket", "strict", "session"}, e.Refused.Allowed)
}

func TestABodyThatCannotBeReadIsRefusedWhole(t *testing.T) {
	t.Parallel()
	for body, code := range map[string]commands.Reason{
		``: commands.Malformed, `{`: commands.Malformed, `[]`: commands.Malformed, `7`: commands.Malformed,
		strings.Repeat(" ", 256<<10) + "{}": commands.TooLarge,
	} {
		read, refused := rules().Decode([]byte(body))
		require.NotNil(t, refused, body)
		require.Equal(t, code, refused.Code)
		require.Empty(t, read.Items)
	}
}

// DESIGN section 3: of an array, an item whose ticket names a refused one is refused too, however far down.
func TestWhatFollowsARefusedCommandOfItsArrayIsRefused(t *testing.T) {
	t.Parallel()
	id := func(n int) string { return fmt.Sprintf("0197c3a2-7b1e-7c44-9d1f-%012d", n) }
	command := func(n int, ticket string) string {
		return fmt.Sprintf(`{"id":%q,"stream":"order/42","type":"submit","ticket":%q}`, id(n), ticket)
	}
	entries := vet(t, "["+strings.Join([]string{
		command(3, id(2)), command(2, id(1)),
		fmt.Sprintf(`{"id":%q,"stream":"order/42","type":"submit"}`, id(1)),
		command(4, "genesis"), command(4, id(9)), command(5, id(4)), command(4, "genesis"),
	}, ",")+"]")
	var codes []commands.Reason
	for _, e := range entries {
		if e.Refused == nil {
			codes = append(codes, "")
			continue
		}
		codes = append(codes, e.Refused.Code)
	}
	require.Equal(t, []commands.Reason{
		commands.PredecessorRefused, commands.PredecessorRefused, commands.TicketRequired,
		"", commands.IDConflict, "", "",
	}, codes, "a conflict's id is that of the command before, which is taken; the same command again is no conflict")
}

func TestASealedCommandKeepsWhereItsOutcomeGoes(t *testing.T) {
	t.Parallel()
	e := vet(t, `{"stream":"order/42","type":"submit","ticket":"genesis","data":{"n": 1}}`)[0]
	e.Env.ReplyTo, e.Env.CorrelationID, e.Env.TraceParent = "billing.answers", "17", "trace"
	at := time.Date(2026, 11, 22, 9, 15, 30, 250_999, time.FixedZone("", 3600))
	e.Seal(at)
	want := commands.Seal(commands.Command{ID: made, Stream: commands.Stream{Type: "order", ID: "42"}, Type: "submit",
		Ticket: commands.Genesis, Data: []byte(`{"n": 1}`)}, at)
	want.ReplyTo, want.CorrelationID, want.TraceParent = "billing.answers", "17", "trace"
	require.Equal(t, want, e.Env)
}

// Every command is read and held against its type before any is accepted.
func Example() {
	rules := vetting.Rules{
		Allows: func(streamType string, _ commands.Policy, _ string) (known, allowed bool) {
			return streamType == "order", true
		},
		Limits: commands.DefaultBodyLimits,
		NewID:  commands.NewID,
	}
	read, refused := rules.Decode([]byte(`[
		{"stream":"order/42","type":"submit","ticket":"genesis"},
		{"stream":"invoice/1","type":"send","ticket":"genesis"}
	]`))
	if refused != nil {
		panic(refused)
	}
	entries := make([]*vetting.Entry, len(read.Items))
	for i := range read.Items {
		entries[i] = &vetting.Entry{}
		entries[i].Read(&read.Items[i])
	}
	rules.CheckArray(entries)
	for _, e := range entries {
		if e.Refused != nil {
			fmt.Println(e.Env.Stream, "is refused:", e.Refused.Code)
			continue
		}
		e.Seal(time.Now())
		fmt.Println(e.Env.Stream, "is accepted")
	}
	// Output:
	// order/42 is accepted
	// invoice/1 is refused: unknown_type
}
