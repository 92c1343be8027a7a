package record

import (
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

func genID(t *rapid.T, label string) commands.ID {
	if special := rapid.IntRange(0, 9).Draw(t, label+" kind"); special == 0 {
		return commands.None
	} else if special == 1 {
		return commands.Genesis
	}
	return commands.ID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, label))
}

func genData(t *rapid.T, label string) []byte {
	if rapid.Bool().Draw(t, label+" none") {
		return nil
	}
	return rapid.SliceOf(rapid.Byte()).Draw(t, label)
}

func genTime(t *rapid.T) time.Time {
	return time.UnixMicro(rapid.Int64Range(-62135596800000000, 253402300799999999).Draw(t, "micros")).UTC()
}

func genOutcome(t *rapid.T) commands.Outcome {
	text := func(label string) string { return rapid.String().Draw(t, label) }
	o := commands.Outcome{
		ID: commands.NewID(), Stream: commands.Stream{Type: "order", ID: "1"}, Position: 7, Version: 9,
		Type: text("type"), Ticket: genID(t, "ticket"), Policy: commands.Policy(rapid.IntRange(0, 3).Draw(t, "policy")),
		Session: text("session"), Actor: text("actor"), Hash: commands.Hash(genID(t, "hash")), At: genTime(t),
		ReplyTo: text("reply"), CorrelationID: text("correlation"), TraceParent: text("trace"),
		Cascaded: rapid.Bool().Draw(t, "cascaded"),
	}
	if rapid.Bool().Draw(t, "rejected") {
		o.Reason, o.RootReason = commands.StaleTicket, commands.Reason(text("root reason"))
		o.Refusal, o.Detail, o.Root = text("refusal"), text("detail"), genID(t, "root")
	}
	for range rapid.IntRange(0, 4).Draw(t, "events") {
		o.Events = append(o.Events, commands.Event{Type: text("event type"),
			Schema: rapid.IntRange(1, 100_000).Draw(t, "schema"), Data: genData(t, "event data")})
	}
	return o
}

func genEnvelope(t *rapid.T) commands.Envelope {
	text := func(label string) string { return rapid.String().Draw(t, label) }
	return commands.Envelope{
		Command: commands.Command{ID: commands.NewID(), Stream: commands.Stream{Type: "order", ID: "1"},
			Type: text("type"), Ticket: genID(t, "ticket"), Session: text("session"), Actor: text("actor"),
			Policy: commands.Policy(rapid.IntRange(0, 3).Draw(t, "policy")), Data: genData(t, "data")},
		Hash: commands.Hash(genID(t, "hash")), ReceivedAt: genTime(t),
		ReplyTo: text("reply"), CorrelationID: text("correlation"), TraceParent: text("trace"),
	}
}

func TestOutcomeIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := genOutcome(t)
		prefix := []byte("before")
		body := AppendOutcome(prefix, &want)
		require.Equal(t, "before", string(body[:len(prefix)]))
		body = body[len(prefix):]

		got := commands.Outcome{ID: want.ID, Stream: want.Stream, Position: 7, Version: 9,
			Root: commands.NewID(), Refusal: "of an earlier use", ReplyTo: "of an earlier use"}
		require.NoError(t, DecodeOutcome(body, &got))
		require.Equal(t, want, got)

		wantFact := aggregate.Fact{Standing: aggregate.Landed, Hash: want.Hash, Version: 9}
		if !want.Landed() {
			wantFact.Standing, wantFact.Ticket = aggregate.Rejected, want.Ticket
			wantFact.Root, wantFact.RootReason = want.Root, want.RootReason
		}
		fact := aggregate.Fact{Version: 9}
		require.NoError(t, Fact(body, &fact))
		require.Equal(t, wantFact, fact)
	})
}

func TestEnvelopeIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := genEnvelope(t)
		body := AppendEnvelope(nil, &want)
		got := commands.Envelope{Command: commands.Command{ID: want.ID, Stream: want.Stream, Data: []byte("earlier")}}
		require.NoError(t, DecodeEnvelope(body, &got))
		require.Equal(t, want, got)

		hash, err := EnvelopeHash(body)
		require.NoError(t, err)
		require.Equal(t, want.Hash, hash)
	})
}

func TestEveryShortenedBodyIsCorrupt(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		o, e := genOutcome(t), genEnvelope(t)
		body := AppendOutcome(nil, &o)
		cut := rapid.IntRange(0, len(body)-1).Draw(t, "cut")
		require.ErrorIs(t, DecodeOutcome(body[:cut], &commands.Outcome{}), ErrCorrupt)
		require.ErrorIs(t, DecodeOutcome(append(body, 0), &commands.Outcome{}), ErrCorrupt)

		body = AppendEnvelope(nil, &e)
		cut = rapid.IntRange(0, len(body)-1).Draw(t, "cut of envelope")
		require.ErrorIs(t, DecodeEnvelope(body[:cut], &commands.Envelope{}), ErrCorrupt)
		require.ErrorIs(t, DecodeEnvelope(append(body, 0), &commands.Envelope{}), ErrCorrupt)
	})
}

func TestLayoutOneStaysReadable(t *testing.T) {
	t.Parallel()
	id := func(b byte) (id commands.ID) {
		for i := range id {
			id[i] = b
		}
		return id
	}
	at := time.Date(2026, 11, 22, 8, 15, 30, 123456000, time.UTC)
	o := commands.Outcome{Type: "add_line", Ticket: id(1), Policy: commands.PolicySession, Session: "s", Actor: "Ann",
		Hash: commands.Hash(id(2)), At: at, ReplyTo: "q", CorrelationID: "c", TraceParent: "t",
		Events: []commands.Event{{Type: "line_added", Schema: 1, Data: []byte(`{"a":1}`)}, {Type: "x", Schema: 2}}}
	require.Equal(t, "0111"+strings.Repeat("02", 16)+strings.Repeat("01", 16)+"02"+"80bbd6c9a2b6b006"+
		"086164645f6c696e65"+"0173"+"03416e6e"+"0171"+"0163"+"0174"+
		"02"+"0a6c696e655f6164646564"+"01"+"08"+"7b2261223a317d"+"0178"+"02"+"00",
		hex.EncodeToString(AppendOutcome(nil, &o)))

	o = commands.Outcome{Type: "f", Ticket: commands.Genesis, Hash: commands.Hash(id(2)), At: at, Cascaded: true,
		Reason: commands.Refused, Refusal: "full", Detail: "No.", Root: id(3), RootReason: commands.Invalid}
	require.Equal(t, "010e"+strings.Repeat("02", 16)+strings.Repeat("03", 16)+"07696e76616c6964"+
		"0772656675736564"+"0466756c6c"+"034e6f2e"+"00"+"80bbd6c9a2b6b006"+"0166"+"00"+"00"+"00",
		hex.EncodeToString(AppendOutcome(nil, &o)))

	e := commands.Envelope{Command: commands.Command{Type: "f", Ticket: commands.None, Policy: commands.PolicyAny,
		Session: "s", Data: []byte("[]")}, Hash: commands.Hash(id(2)), ReceivedAt: at}
	require.Equal(t, "0120"+strings.Repeat("02", 16)+"03"+"80bbd6c9a2b6b006"+"0166"+"0173"+"00"+"025b5d",
		hex.EncodeToString(AppendEnvelope(nil, &e)))
}

func TestUnknownLayoutIsRefusedByName(t *testing.T) {
	t.Parallel()
	body := AppendOutcome(nil, &commands.Outcome{})
	body[0] = 2
	err := DecodeOutcome(body, &commands.Outcome{})
	require.ErrorIs(t, err, ErrCorrupt)
	require.ErrorContains(t, err, "layout 2")
}

func TestOneAllocationEachWay(t *testing.T) {
	o := commands.Outcome{Type: "add_line", Session: "session", Actor: "Ann",
		Events: []commands.Event{{Type: "line_added", Schema: 1, Data: []byte(strings.Repeat("x", 150))}}}
	body := AppendOutcome(nil, &o)
	var into commands.Outcome
	require.EqualValues(t, 1, testing.AllocsPerRun(100, func() { body = AppendOutcome(nil, &o) }))
	require.EqualValues(t, 1, testing.AllocsPerRun(100, func() { _ = DecodeOutcome(body, &into) }), "the events' slice")
	room := make([]byte, 0, 1024)
	require.Zero(t, testing.AllocsPerRun(100, func() { _ = AppendOutcome(room, &o) }))
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{})
	f.Add(AppendOutcome(nil, &commands.Outcome{Type: "a", Events: []commands.Event{{Type: "b", Schema: 1, Data: []byte("{}")}}}))
	f.Add(AppendOutcome(nil, &commands.Outcome{Reason: commands.Invalid, Detail: "d", ReplyTo: "r"}))
	f.Add(AppendEnvelope(nil, &commands.Envelope{Command: commands.Command{Data: []byte("[1]"), Ticket: commands.Genesis}}))
	f.Fuzz(func(t *testing.T, body []byte) {
		var o commands.Outcome
		if err := DecodeOutcome(body, &o); err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
		} else {
			var again commands.Outcome
			require.NoError(t, DecodeOutcome(AppendOutcome(nil, &o), &again))
			require.Equal(t, o, again)
		}
		var e commands.Envelope
		if err := DecodeEnvelope(body, &e); err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
		} else {
			var again commands.Envelope
			require.NoError(t, DecodeEnvelope(AppendEnvelope(nil, &e), &again))
			require.Equal(t, e, again)
		}
		var fact aggregate.Fact
		if err := Fact(body, &fact); err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
		}
		if _, err := EnvelopeHash(body); err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
		}
	})
}

func genMessage(t *rapid.T) store.Message {
	text := func(label string) string { return rapid.String().Draw(t, label) }
	return store.Message{Body: genData(t, "body"), Size: rapid.IntRange(0, 1<<40).Draw(t, "size"), ContentType: text("type"),
		ContentEncoding: text("encoding"), MessageID: text("id"), CorrelationID: text("correlation"), ReplyTo: text("reply"),
		UserID: text("user"), Exchange: text("exchange"), RoutingKey: text("key"), Properties: genData(t, "properties")}
}

func TestMessageIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := genMessage(t)
		body := AppendMessage(nil, &want)
		var got store.Message
		require.NoError(t, DecodeMessage(body, &got))
		require.Equal(t, want, got)
		cut := rapid.IntRange(0, len(body)-1).Draw(t, "cut")
		require.ErrorIs(t, DecodeMessage(body[:cut], &store.Message{}), ErrCorrupt)
		require.ErrorIs(t, DecodeMessage(append(body, 0), &store.Message{}), ErrCorrupt)
	})
}

func TestHeadsTellAllThatIsNotLarge(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		e, m := genEnvelope(t), genMessage(t)
		if rapid.Bool().Draw(t, "large") {
			e.Data, m.Body, m.Properties = make([]byte, 2*Head), make([]byte, 2*Head), make([]byte, 2*Head)
		}
		wantE, wantM := e, m
		wantE.Data, wantM.Body, wantM.Properties = nil, nil, nil
		gotE := commands.Envelope{Command: commands.Command{ID: e.ID, Stream: e.Stream}}
		body := AppendEnvelope(nil, &e)
		require.NoError(t, DecodeEnvelopeHead(body[:min(len(body), Head)], &gotE))
		require.Equal(t, wantE, gotE)
		var gotM store.Message
		body = AppendMessage(nil, &m)
		require.NoError(t, DecodeMessageHead(body[:min(len(body), Head)], &gotM))
		require.Equal(t, wantM, gotM)
	})
}

func TestAHeadThatIsCutInsideATextTellsWhatComesBefore(t *testing.T) {
	t.Parallel()
	e := commands.Envelope{Command: commands.Command{Type: "add_line", Session: strings.Repeat("s", 2*Head), Actor: "Ann"}}
	var got commands.Envelope
	require.NoError(t, DecodeEnvelopeHead(AppendEnvelope(nil, &e)[:Head], &got))
	require.Equal(t, commands.Envelope{Command: commands.Command{Type: "add_line"}, ReceivedAt: got.ReceivedAt}, got)

	body := AppendEnvelope(nil, &e)
	require.ErrorIs(t, DecodeEnvelopeHead(body[:Head-1], &got), ErrCorrupt, "a body that is shorter than a head is whole")
	body[0] = 7
	require.ErrorIs(t, DecodeEnvelopeHead(body[:Head], &got), ErrCorrupt)
}
