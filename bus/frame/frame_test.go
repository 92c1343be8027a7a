package frame_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/ticketed/doorman/bus/frame"
	"github.com/ticketed/doorman/commands"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var received = time.Date(2026, 3, 1, 12, 30, 0, 123456000, time.UTC)

func addLine() commands.Envelope {
	env := commands.Seal(commands.Command{
		ID:      commands.ID{0x01, 0x97, 0x7a, 15: 0x42},
		Stream:  commands.Stream{Type: "order", ID: "42"},
		Type:    "add_line",
		Ticket:  commands.Genesis,
		Policy:  commands.PolicySession,
		Session: "tab-9f3",
		Actor:   "Ann",
		Data:    []byte(`{"sku":"A1","qty":2}`),
	}, received)
	env.ReplyTo, env.CorrelationID = "answers", "c-1"
	env.TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	return env
}

func order() commands.Envelope {
	env := commands.RejectOrder(addLine().ID, addLine().Stream, "Olga", "a mistake", received)
	env.ID = commands.ID{0x01, 0x97, 0x7b, 15: 0x43}
	return env
}

func bare() commands.Envelope { return commands.Envelope{ReceivedAt: time.Time{}} }

func encode(envs ...commands.Envelope) []byte {
	var payload []byte
	for i := range envs {
		payload = frame.Append(payload, &envs[i])
	}
	return payload
}

func TestFrameGivesBackWhatWasAppendedInOrder(t *testing.T) {
	t.Parallel()
	without, empty := addLine(), addLine()
	without.Data, empty.Data = nil, []byte{}
	sent := []commands.Envelope{addLine(), bare(), order(), without, empty}

	got, err := frame.Decode(encode(sent...))

	require.NoError(t, err)
	require.Equal(t, sent, got, "a missing payload stays nil, an empty one stays empty")
}

func TestAnyEnvelopeSurvivesTheWay(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		sent := rapid.SliceOfN(rapid.Custom(envelope), 1, 20).Draw(t, "sent")
		payload := encode(sent...)

		count, err := frame.Count(payload)
		require.NoError(t, err)
		require.Equal(t, len(sent), count)
		got, err := frame.Decode(payload)
		require.NoError(t, err)
		require.Equal(t, sent, got)

		size := 1
		for i := range sent {
			size += frame.Size(&sent[i])
		}
		require.Len(t, payload, size, "Size tells what Append adds")
	})
}

func envelope(t *rapid.T) commands.Envelope {
	id := rapid.Custom(func(t *rapid.T) (id commands.ID) {
		copy(id[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
		return id
	})
	text := rapid.OneOf(rapid.StringN(0, 200, 400), rapid.Just(""), rapid.Just(strings.Repeat("x", 127)),
		rapid.Just(strings.Repeat("y", 128)))
	data := rapid.OneOf(rapid.SliceOf(rapid.Byte()), rapid.Just([]byte(nil)), rapid.Just(make([]byte, 20_000)))
	return commands.Envelope{
		Command: commands.Command{
			ID:      id.Draw(t, "id"),
			Stream:  commands.Stream{Tenant: text.Draw(t, "tenant"), Type: text.Draw(t, "type"), ID: text.Draw(t, "stream")},
			Type:    text.Draw(t, "command"),
			Ticket:  id.Draw(t, "ticket"),
			Policy:  rapid.SampledFrom(commands.Policies()).Draw(t, "policy"),
			Session: text.Draw(t, "session"),
			Actor:   text.Draw(t, "actor"),
			Data:    data.Draw(t, "data"),
		},
		Hash:          commands.Hash(id.Draw(t, "hash")),
		ReceivedAt:    time.UnixMicro(rapid.Int64().Draw(t, "received")).UTC(),
		ReplyTo:       text.Draw(t, "reply"),
		CorrelationID: text.Draw(t, "correlation"),
		TraceParent:   text.Draw(t, "trace"),
		Order:         commands.Order(rapid.OneOf(rapid.Just(0), rapid.IntRange(0, 15)).Draw(t, "order")),
	}
}

// Frames outlive the process that made them, so the bytes of each version are fixed here.
func TestBytesOfTheVersions(t *testing.T) {
	t.Parallel()
	for name, holds := range map[string][]commands.Envelope{
		"version1": {addLine(), bare()}, "version2": {addLine(), order(), bare()},
	} {
		golden, err := os.ReadFile("testdata/" + name + ".hex")
		require.NoError(t, err)
		payload, err := hex.DecodeString(strings.Join(strings.Fields(string(golden)), ""))
		require.NoError(t, err)

		got, err := frame.Decode(payload)
		require.NoError(t, err)
		require.Equal(t, holds, got)
		require.Equal(t, payload, encode(holds...))
	}
}

// A release that knows no orders reads all frames without one, and takes none of those with one for commands.
func TestOnlyAFrameWithAnOrderIsOfTheSecondVersion(t *testing.T) {
	t.Parallel()
	require.Equal(t, byte(1), encode(addLine(), bare())[0])
	require.Equal(t, byte(2), encode(order())[0])
	require.Equal(t, byte(2), encode(addLine(), order(), bare())[0])

	payload := encode(order())
	payload[0] = 1
	_, err := frame.Decode(payload)
	require.ErrorContains(t, err, "policy 16, which is unknown")
}

func TestAFrameThatHasOnlyBegunHoldsNothing(t *testing.T) {
	t.Parallel()
	got, err := frame.Decode(encode(addLine())[:1])
	require.NoError(t, err)
	require.Empty(t, got)
}

func TestAnotherVersionIsNamed(t *testing.T) {
	t.Parallel()
	payload := encode(addLine())
	for _, version := range []byte{0, 3, 255} {
		payload[0] = version
		_, err := frame.Decode(payload)
		var other *frame.VersionError
		require.ErrorAs(t, err, &other)
		require.Equal(t, version, other.Version)
		require.ErrorContains(t, err, fmt.Sprintf("frame has version %d; this program reads versions 1 and 2", version))
		_, err = frame.Count(payload)
		require.ErrorAs(t, err, &other)
	}
}

func TestEveryTruncationIsAnErrorUnlessItEndsBetweenCommands(t *testing.T) {
	t.Parallel()
	payload := encode(addLine(), bare())
	first := len(encode(addLine()))
	for cut := range payload {
		got, err := frame.Decode(payload[:cut])
		switch cut {
		case 1, first:
			require.NoError(t, err)
		default:
			var corrupt *frame.CorruptError
			require.ErrorAs(t, err, &corrupt, "cut at %d", cut)
			require.LessOrEqual(t, corrupt.Offset, cut)
			require.Nil(t, got)
		}
	}
}

func TestCorruptionIsToldWithItsOffset(t *testing.T) {
	t.Parallel()
	payload := encode(addLine())
	const body = 3          // after the version and a length of two bytes
	const sizes = body + 57 // of the tenant; the type comes next
	tests := map[string]struct {
		change func([]byte) []byte
		want   frame.CorruptError
	}{
		"nothing at all": {
			func([]byte) []byte { return nil },
			frame.CorruptError{0, "nothing there, not even a version"},
		},
		"a command too short for its fields": {
			func([]byte) []byte { return append([]byte{1, 10}, make([]byte, 10)...) },
			frame.CorruptError{2, "a command of 10 bytes, which is too short for one"},
		},
		"a command longer than the frame": {
			func(b []byte) []byte { return b[:len(b)-1] },
			frame.CorruptError{1, fmt.Sprintf("a length of %d where %d bytes are left", len(payload)-body, len(payload)-body-1)},
		},
		"a length that does not end": {
			func(b []byte) []byte { return append(b, 0x80) },
			frame.CorruptError{len(payload), "a length that does not end"},
		},
		"a length of more than 64 bits": {
			func(b []byte) []byte {
				return append(b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1)
			},
			frame.CorruptError{len(payload), "a length that does not end"},
		},
		"a policy nobody knows": {
			func(b []byte) []byte { b[body+48] = 4; return b },
			frame.CorruptError{body + 48, "policy 4, which is unknown"},
		},
		"a policy nobody knows beside an order": {
			func(b []byte) []byte { b[0], b[body+48] = 2, 0x1f; return b },
			frame.CorruptError{body + 48, "policy 15, which is unknown"},
		},
		"a text longer than its command": {
			func(b []byte) []byte { b[sizes+1+5+1] = 123; return append(b, b[1:]...) },
			frame.CorruptError{sizes + 1 + 5 + 1, fmt.Sprintf("a length of 123 where %d bytes are left", len(payload)-sizes-8)},
		},
		"bytes after the data": {
			func(b []byte) []byte { b[len(b)-21] = 20; return b },
			frame.CorruptError{len(payload) - 1, "1 bytes too many in a command"},
		},
		"no room for the data": {
			func([]byte) []byte {
				env := bare()
				b := frame.Append(nil, &env)
				b[len(b)-2] = 1
				return b
			},
			frame.CorruptError{1 + 1 + 57 + 9 + 1, "a length that does not end"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := frame.Decode(test.change(append([]byte(nil), payload...)))
			var corrupt *frame.CorruptError
			require.ErrorAs(t, err, &corrupt)
			require.Equal(t, test.want, *corrupt)
			require.ErrorContains(t, err, fmt.Sprintf("frame is corrupt at byte %d: ", test.want.Offset))
		})
	}
}

func TestWhatIsDecodedDoesNotReachIntoItsNeighbour(t *testing.T) {
	t.Parallel()
	payload := encode(addLine(), addLine())
	got, err := frame.Decode(payload)
	require.NoError(t, err)

	_ = append(got[0].Data, "overwritten"...)

	again, err := frame.Decode(payload)
	require.NoError(t, err)
	require.Equal(t, []commands.Envelope{addLine(), addLine()}, again)
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{})
	f.Add(encode(bare()))
	f.Add(encode(addLine(), bare(), addLine()))
	f.Add(append(encode(addLine()), 0x80))
	f.Add(encode(order()))
	f.Add(encode(addLine(), order(), bare()))
	f.Fuzz(func(t *testing.T, payload []byte) {
		got, err := frame.Decode(payload)
		if err != nil {
			var corrupt *frame.CorruptError
			var version *frame.VersionError
			require.True(t, errors.As(err, &corrupt) || errors.As(err, &version), "%v", err)
			if corrupt != nil {
				require.GreaterOrEqual(t, corrupt.Offset, 0)
				require.LessOrEqual(t, corrupt.Offset, len(payload))
			}
			return
		}
		count, err := frame.Count(payload)
		require.NoError(t, err)
		require.Len(t, got, count)
		if count == 0 {
			return
		}
		again, err := frame.Decode(encode(got...))
		require.NoError(t, err)
		require.Equal(t, got, again)
	})
}

func Example() {
	order := commands.Stream{Type: "order", ID: "42"}
	var payload []byte
	for _, name := range []string{"create", "add_line"} {
		env := commands.Seal(commands.Command{Stream: order, Type: name, Data: []byte(`{}`)}, time.Now())
		payload = frame.Append(payload, &env)
	}

	envelopes, err := frame.Decode(payload)
	for i := range envelopes {
		fmt.Println(envelopes[i].Stream, envelopes[i].Type, string(envelopes[i].Data))
	}
	fmt.Println(err)

	_, err = frame.Decode(payload[:len(payload)-1])
	fmt.Println(err)
	// Output:
	// order/42 create {}
	// order/42 add_line {}
	// <nil>
	// frame is corrupt at byte 84: a length of 84 where 83 bytes are left
}

const perFrame = 64

func BenchmarkAppend(b *testing.B) {
	env := addLine()
	env.ReplyTo, env.CorrelationID = "", ""
	buffer := make([]byte, 0, perFrame*frame.Size(&env)+1)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%perFrame == 0 {
			buffer = buffer[:0]
		}
		buffer = frame.Append(buffer, &env)
	}
}

func BenchmarkDecode64(b *testing.B) {
	env := addLine()
	env.ReplyTo, env.CorrelationID = "", ""
	var payload []byte
	for range perFrame {
		payload = frame.Append(payload, &env)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := frame.Decode(payload); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/perFrame, "ns/command")
}
