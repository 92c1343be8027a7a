package commands_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
)

// plainCommand is a command as encoding/json reads it.
type plainCommand struct {
	ID      *string         `json:"id"`
	Stream  string          `json:"stream"`
	Type    string          `json:"type"`
	Ticket  *string         `json:"ticket"`
	Policy  string          `json:"policy"`
	Session string          `json:"session"`
	Actor   string          `json:"actor"`
	Data    json.RawMessage `json:"data"`
}

func (p plainCommand) check(t *testing.T, c commands.Command) {
	t.Helper()
	if p.ID != nil {
		require.Equal(t, strings.ToLower(*p.ID), c.ID.String())
	} else {
		require.Equal(t, commands.None, c.ID)
	}
	if p.Ticket != nil {
		require.Equal(t, strings.ToLower(*p.Ticket), c.Ticket.String())
	} else {
		require.Equal(t, commands.None, c.Ticket)
	}
	if p.Policy == "" {
		p.Policy = "ticket"
	}
	require.Equal(t, p.Stream, c.Stream.String())
	require.Equal(t, p.Type, c.Type)
	require.Equal(t, p.Policy, c.Policy.String())
	require.Equal(t, p.Session, c.Session)
	require.Equal(t, p.Actor, c.Actor)
	require.Equal(t, string(p.Data), string(c.Data))
}

func FuzzDecode(f *testing.F) {
	f.Add(typicalCommand)
	for _, seed := range []string{
		`{"stream":"order/42","type":"x","data":{"a":[1,-0.5e+7,true,null,"\ud83d\ude00\n"]}}`,
		`[{"stream":"order/42","type":"x"},{"stream":"order/42","type":"x","ticket":"genesis"}]`,
		`{"stream":"order/42","type":"x","data":{"a":1,"\u0061":2}}`,
		`{"id":"01977b2e-5b0c-7d31-9d3c-0-6f1a2b3c4d5","stream":"order/42","type":"x"}`,
		`{"stream":"order/42","type":"x","actor":"\ud800"}`, `[7]`, `[]`, "\xef\xbb\xbf{}", `{"a":"` + "\xff" + `"}`,
		`{"stream":"order/42","type":"x","session":"` + "\uffff" + `","Type":1}`, `{"data":` + strings.Repeat("[", 40),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		original := string(body)
		request, err := commands.DecodeRequest(body, commands.DefaultBodyLimits)
		require.Equal(t, original, string(body), "the body is only read")
		if err != nil {
			checkPlace(t, body, err)
			return
		}
		require.True(t, json.Valid(body), "encoding/json rejects what was accepted")
		plain := []json.RawMessage{json.RawMessage(original)}
		if request.Array {
			plain = nil
			require.NoError(t, json.Unmarshal(body, &plain))
		}
		require.Len(t, request.Items, len(plain))
		for i, item := range request.Items {
			if item.Err != nil {
				checkPlace(t, body, item.Err)
				continue
			}
			var p plainCommand
			require.NoError(t, json.Unmarshal(plain[i], &p))
			p.check(t, item.Command)
		}
	})
}

// checkPlace: the offset lies in the body, the pointer is one, and both can be told as JSON.
func checkPlace(t *testing.T, body []byte, err error) {
	t.Helper()
	var malformed *commands.MalformedError
	require.ErrorAs(t, err, &malformed)
	require.LessOrEqual(t, malformed.Offset, len(body))
	require.GreaterOrEqual(t, malformed.Offset, 0)
	require.True(t, malformed.Pointer == "" || malformed.Pointer[0] == '/')
	quoted, err := json.Marshal(malformed.Pointer)
	require.NoError(t, err)
	require.NoError(t, commands.CheckJSON(quoted, 1))
	require.NotEmpty(t, malformed.Detail)
}

func FuzzCheckJSON(f *testing.F) {
	for _, seed := range []string{
		`{"a":[1,2,{"b":null}]}`, `"\ud83d\ude00"`, `-0.0e-0`, `[1,]`, `{"a":1,"a":2}`, ``, "\"\xc3\xa9\"",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		err := commands.CheckJSON(text, 1000)
		if err == nil {
			require.True(t, json.Valid(text), "encoding/json rejects what was accepted")
			require.True(t, commands.EqualJSON(text, append([]byte(" "), text...)))
			return
		}
		checkPlace(t, text, err)
	})
}
