package commands_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ticketed/doorman/commands"
)

func TestTimesHaveSixDigitsInUTC(t *testing.T) {
	t.Parallel()
	east := time.FixedZone("east", 2*60*60)
	for want, at := range map[string]time.Time{
		"2026-11-22T08:15:30.000000Z": time.Date(2026, 11, 22, 8, 15, 30, 0, time.UTC),
		"2026-11-21T23:15:30.000250Z": time.Date(2026, 11, 22, 1, 15, 30, 250_999, east),
		"0001-01-01T00:00:00.000000Z": {},
		"9999-12-31T23:59:59.999999Z": time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC),
	} {
		require.Equal(t, want, string(commands.AppendTime(nil, at)))
	}
	rapid.Check(t, func(t *rapid.T) {
		at := drawTime(t)
		parsed, err := time.Parse(time.RFC3339, string(commands.AppendTime(nil, at)))
		require.NoError(t, err)
		require.True(t, at.Equal(parsed))
	})
}

func TestTextsAreWrittenAsIJSON(t *testing.T) {
	t.Parallel()
	require.Equal(t, `"<a> & \"b\" \\ \n\r\t\u0000\u001f`+"\u007f é \u2028 😀\"",
		string(commands.AppendJSONString(nil, "<a> & \"b\" \\ \n\r\t\x00\x1f\x7f é \u2028 😀")))
	// RFC 7493 section 2.1
	require.Equal(t, "\"a\ufffdb\ufffd\ufffd\"", string(commands.AppendJSONString(nil, "a\xffb\xed\xa0")))
	rapid.Check(t, func(t *rapid.T) {
		text := string(rapid.SliceOf(rapid.Byte()).Draw(t, "text"))
		written := commands.AppendJSONString([]byte("before"), text)
		var read string
		require.NoError(t, json.Unmarshal(written[len("before"):], &read))
		require.Equal(t, collapse(strings.ToValidUTF8(text, "\ufffd")), collapse(read))
		require.True(t, utf8.Valid(written))
	})
}

// collapse makes runs of U+FFFD one, as strings.ToValidUTF8 does.
func collapse(text string) string {
	for strings.Contains(text, "\ufffd\ufffd") {
		text = strings.ReplaceAll(text, "\ufffd\ufffd", "\ufffd")
	}
	return text
}

func drawID(t *rapid.T) commands.ID {
	var id commands.ID
	copy(id[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
	id[6] = 0x70
	return id
}

func drawTime(t *rapid.T) time.Time {
	return time.UnixMicro(rapid.Int64Range(-30_000_000_000_000_000, 200_000_000_000_000_000).Draw(t, "at")).UTC()
}

func drawPosition(t *rapid.T) commands.Position {
	if rapid.IntRange(0, 9).Draw(t, "nowhere") == 0 {
		return commands.Position{}
	}
	epoch := rapid.StringMatching(`[a-z0-9]{1,12}`).Draw(t, "epoch")
	return commands.Position{Epoch: epoch, N: rapid.Uint64().Draw(t, "n")}
}

func drawStream(t *rapid.T) commands.Stream {
	return commands.Stream{Type: rapid.StringMatching(`[a-z][a-z0-9_-]{0,8}`).Draw(t, "type"),
		ID: rapid.StringMatching(`[A-Za-z0-9][A-Za-z0-9._:-]{0,8}`).Draw(t, "id")}
}

func drawJSON(t *rapid.T) json.RawMessage {
	texts := []string{`null`, `{}`, `{"a":[1.50,"x\n"]}`, `"\u00e9"`, `-0`, `[]`}
	return json.RawMessage(rapid.SampledFrom(texts).Draw(t, "json"))
}

func drawChange(t *rapid.T) commands.ChangeView {
	return commands.ChangeView{
		Version: rapid.Uint64().Draw(t, "version"), Position: drawPosition(t), Type: rapid.String().Draw(t, "event"),
		Data: drawJSON(t), At: drawTime(t),
		Command: commands.ActorView{ID: drawID(t), Type: rapid.String().Draw(t, "type"),
			Actor: rapid.String().Draw(t, "actor"), Override: rapid.Bool().Draw(t, "override")},
	}
}

func drawCommandView(t *rapid.T) commands.CommandView {
	v := commands.CommandView{ID: drawID(t), Status: rapid.SampledFrom([]commands.Status{
		commands.StatusUnknown, commands.StatusAccepted, commands.StatusParked, commands.StatusLanded,
		commands.StatusRejected,
	}).Draw(t, "status")}
	if v.Status == commands.StatusUnknown {
		return v
	}
	v.Stream = drawStream(t)
	if v.Status == commands.StatusAccepted {
		return v
	}
	v.Type = rapid.StringMatching(`[a-z]+`).Draw(t, "type")
	if v.Status == commands.StatusParked {
		v.WaitsFor, v.Until = drawID(t), drawTime(t)
		return v
	}
	v.Position, v.Version, v.Ticket = drawPosition(t), rapid.Uint64().Draw(t, "version"), drawID(t)
	if v.Status == commands.StatusLanded {
		return v
	}
	v.Reason, v.RootReason = commands.Refused, commands.StaleTicket
	v.Refusal, v.Detail, v.Root = rapid.String().Draw(t, "refusal"), rapid.String().Draw(t, "detail"), drawID(t)
	if rapid.Bool().Draw(t, "told") {
		v.State = drawJSON(t)
		v.Missed = make([]commands.ChangeView, rapid.IntRange(0, 3).Draw(t, "missed"))
		for i := range v.Missed {
			v.Missed[i] = drawChange(t)
		}
	}
	return v
}

// Every view is read back by encoding/json as it was, is I-JSON, and is what encoding/json writes.
func TestViewsAreReadBackAsTheyWere(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		command := drawCommandView(t)
		checkView(t, command, command.AppendTo(nil))
		change := drawChange(t)
		checkView(t, change, change.AppendTo(nil))
		stream := commands.StreamView{Stream: drawStream(t), Version: rapid.Uint64().Draw(t, "version"),
			Ticket: drawID(t), At: drawTime(t), Position: drawPosition(t)}
		if rapid.Bool().Draw(t, "told") {
			stream.State = drawJSON(t)
		}
		checkView(t, stream, stream.AppendTo(nil))
		items := []commands.StreamView{stream, stream}[:rapid.IntRange(0, 2).Draw(t, "items")]
		page := commands.StreamsView{Items: items, After: "x\""}
		checkView(t, page, page.AppendTo(nil))
	})
}

func checkView[V any](t *rapid.T, view V, written []byte) {
	require.NoError(t, commands.CheckJSON(written, 32))
	var read V
	require.NoError(t, json.Unmarshal(written, &read), string(written))
	require.Equal(t, view, read)
	marshaled, err := json.Marshal(view)
	require.NoError(t, err)
	require.True(t, commands.EqualJSON(written, marshaled), "%s\n%s", written, marshaled)
}

func TestCommandsAreReadBackAsTheyWere(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		command := commands.Command{
			Stream: drawStream(t), Type: rapid.StringMatching(`[a-z][a-z0-9_-]{0,8}`).Draw(t, "type"),
			Policy:  rapid.SampledFrom(commands.Policies()).Draw(t, "policy"),
			Session: rapid.StringMatching(`[a-zé"]{0,4}`).Draw(t, "session"),
			Actor:   rapid.StringMatching(`[A-Z😀\\]{0,4}`).Draw(t, "actor"),
		}
		if rapid.Bool().Draw(t, "whole") {
			command.ID, command.Ticket, command.Data = drawID(t), drawID(t), drawJSON(t)
		}
		read, err := commands.Decode(command.AppendTo(nil))
		require.NoError(t, err)
		require.Equal(t, command, read)
	})
}

func TestAcceptedIsReadBack(t *testing.T) {
	t.Parallel()
	id, stream := mustID(t, someID), commands.Stream{Type: "order", ID: "42"}
	written := commands.AppendAccepted(nil, id, stream)
	view := commands.CommandView{ID: id, Stream: stream, Status: commands.StatusAccepted}
	require.Equal(t, string(written), string(view.AppendTo(nil)))
	var read commands.CommandView
	require.NoError(t, json.Unmarshal(written, &read))
	require.Equal(t, view, read)
}

func TestLimitsAreToldByTheirNames(t *testing.T) {
	t.Parallel()
	written, err := json.Marshal(commands.LimitsView{MaxArray: 256, MaxBody: 262144, MaxDepth: 32, MaxWatched: 256,
		ParkedPerStream: 256, ParkedPerSession: 1000, Parked: 50000, ParkSeconds: 30})
	require.NoError(t, err)
	require.JSONEq(t, `{"max_array":256,"max_body":262144,"max_depth":32,"max_watched":256,
		"parked_per_stream":256,"parked_per_session":1000,"parked":50000,"park_seconds":30}`, string(written))
}

func rejectedOutcome(tb testing.TB) *commands.Outcome {
	tb.Helper()
	return &commands.Outcome{
		Position: 9, ID: mustID(tb, someID), Stream: commands.Stream{Type: "order", ID: "42"}, Type: "submit",
		Version: 3, Reason: commands.Refused, Refusal: "already_submitted", Detail: "It has been submitted.",
		Root: mustID(tb, someID), RootReason: commands.Refused,
	}
}

// DESIGN section 2: a rejection always carries id, stream, position, reason, detail, root, root_reason.
func TestARejectionTellsTheStreamAsItIsNow(t *testing.T) {
	t.Parallel()
	view := commands.ViewOutcome("e1", rejectedOutcome(t))
	require.Nil(t, view.State)
	missed := make([]commands.ChangeView, 250)
	for i := range missed {
		missed[i].Version = uint64(i + 1)
	}
	view.FillIn(mustID(t, someTicket), 4, nil, missed)
	require.Equal(t, "null", string(view.State))
	require.Len(t, view.Missed, commands.MaxMissed)
	require.Equal(t, uint64(250), view.Missed[commands.MaxMissed-1].Version, "the newest are told")

	view.FillIn(mustID(t, someTicket), 4, []byte(`{"lines":1}`), nil)
	require.JSONEq(t, `{"id":"`+someID+`","stream":"order/42","type":"submit","status":"rejected",`+
		`"position":"e1-9","version":4,"ticket":"`+someTicket+`","detail":"It has been submitted.",`+
		`"reason":"refused","refusal":"already_submitted",`+
		`"root":"`+someID+`","root_reason":"refused","state":{"lines":1},"missed":[]}`, string(view.AppendTo(nil)))
}

func TestWhatWasCascadedTellsNeitherStateNorMissed(t *testing.T) {
	t.Parallel()
	outcome := rejectedOutcome(t)
	outcome.Cascaded = true
	view := commands.ViewOutcome("e1", outcome)
	view.FillIn(commands.Genesis, 0, []byte(`{}`), []commands.ChangeView{{}})
	text := string(view.AppendTo(nil))
	require.NotContains(t, text, `"state"`)
	require.NotContains(t, text, `"missed"`)
	require.Contains(t, text, `"version":0,"ticket":"genesis"`)
}

func TestALandedCommandsTicketIsItsOwnID(t *testing.T) {
	t.Parallel()
	outcome := rejectedOutcome(t)
	outcome.Reason, outcome.Detail, outcome.Refusal = "", "", ""
	view := commands.ViewOutcome("e1", outcome)
	require.JSONEq(t, `{"id":"`+someID+`","stream":"order/42","type":"submit","status":"landed",`+
		`"position":"e1-9","version":3,"ticket":"`+someID+`"}`,
		string(view.AppendTo(nil)))
}

func TestViewsRefuseNamesOfAnotherForm(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`{"stream":"order"}`, `{"position":"9"}`, `{"position":"e1-"}`, `{"position":"e1-+9"}`, `{"id":"x"}`,
	} {
		var view commands.CommandView
		require.Error(t, json.Unmarshal([]byte(text), &view), text)
	}
}

func BenchmarkAppend(b *testing.B) {
	rejected := commands.ViewOutcome("0a1b2c3d4e5f", rejectedOutcome(b))
	rejected.FillIn(rejected.ID, 4, typicalCommand, []commands.ChangeView{{Type: "line_added", Data: typicalCommand}})
	scratch := make([]byte, 0, 4096)
	b.Run("accepted", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			scratch = commands.AppendAccepted(scratch[:0], rejected.ID, rejected.Stream)
		}
	})
	b.Run("rejected", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			scratch = rejected.AppendTo(scratch[:0])
		}
	})
}

func ExampleCommandView_FillIn() {
	outcome := commands.Outcome{
		Position: 7, Stream: commands.Stream{Type: "order", ID: "42"}, Type: "add_line", Version: 2,
		Reason: commands.StaleTicket, Detail: "Two changes came first.", RootReason: commands.StaleTicket,
	}
	outcome.ID, _ = commands.ParseID("0197c3a2-7b1e-7c44-9d1f-52d4a6b0c9e1")
	outcome.Root = outcome.ID
	view := commands.ViewOutcome("e1", &outcome)
	head, _ := commands.ParseID("0197c3a2-7c00-7000-8000-000000000001")
	view.FillIn(head, 2, []byte(`{"lines":2}`), nil)
	fmt.Println(strings.ReplaceAll(string(view.AppendTo(nil)), `,"`, ",\n\""))
	// Output:
	// {"id":"0197c3a2-7b1e-7c44-9d1f-52d4a6b0c9e1",
	// "stream":"order/42",
	// "type":"add_line",
	// "status":"rejected",
	// "position":"e1-7",
	// "version":2,
	// "ticket":"0197c3a2-7c00-7000-8000-000000000001",
	// "detail":"Two changes came first.",
	// "reason":"stale_ticket",
	// "root":"0197c3a2-7b1e-7c44-9d1f-52d4a6b0c9e1",
	// "root_reason":"stale_ticket",
	// "state":{"lines":2},
	// "missed":[]}
}
