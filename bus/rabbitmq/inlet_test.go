package rabbitmq

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
)

// script is a broker that says what it was given to say. It answers a channel's opening and a consumer when they
// are asked for, and listens to nothing else.
type script struct {
	net.Conn // nil: nothing else is asked for

	opened, consumed gate
	words            io.Reader
	closed           chan struct{}
	once             sync.Once
}

// gate is a reader that has nothing to say, as soon as it is open.
type gate chan struct{}

func (g gate) Read([]byte) (int, error) {
	<-g
	return 0, io.EOF
}

// newScript says words once somebody consumes on channel 1.
func newScript(frameMax uint32, words io.Reader) *script {
	s := &script{opened: make(gate), consumed: make(gate), closed: make(chan struct{})}
	tune := binary.BigEndian.AppendUint32([]byte{0, 10, 0, 30, 0, 0}, frameMax)
	s.words = io.MultiReader(
		bytes.NewReader(frameOf(methodFrame, 0, []byte{0, 10, 0, 10, 0, 9}, long(nil), long([]byte("PLAIN")), long([]byte("en_US")))),
		bytes.NewReader(frameOf(methodFrame, 0, tune, []byte{0, 0})),
		bytes.NewReader(frameOf(methodFrame, 0, []byte{0, 10, 0, 41}, short(""))),
		s.opened, bytes.NewReader(frameOf(methodFrame, 1, []byte{0, 20, 0, 11}, long(nil))),
		s.consumed, bytes.NewReader(frameOf(methodFrame, 1, []byte{0, 60, 0, 21}, short("c"))),
		words,
	)
	return s
}

func (s *script) Read(p []byte) (int, error) {
	n, err := s.words.Read(p)
	if errors.Is(err, io.EOF) && n == 0 {
		<-s.closed
		return 0, net.ErrClosed
	}
	return n, nil
}

func (s *script) Write(p []byte) (int, error) {
	for method, g := range map[string]gate{"\x00\x14\x00\x0a": s.opened, "\x00\x3c\x00\x14": s.consumed} {
		if len(p) >= frameHeader+4 && string(p[frameHeader:frameHeader+4]) == method {
			close(g)
		}
	}
	return len(p), nil
}

func (s *script) Close() error                    { s.once.Do(func() { close(s.closed) }); return nil }
func (s *script) SetDeadline(time.Time) error     { return nil }
func (s *script) SetReadDeadline(time.Time) error { return nil }

const usualFrames = 131_072

func frameOf(kind byte, channel uint16, payload ...[]byte) []byte {
	text := bytes.Join(payload, nil)
	b := binary.BigEndian.AppendUint16([]byte{kind}, channel)
	b = binary.BigEndian.AppendUint32(b, uint32(len(text)))
	return append(append(b, text...), frameEnd)
}

func short(text string) []byte { return append([]byte{byte(len(text))}, text...) }
func long(text []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...)
}

// saysMessage is a message as a broker says it: flags and properties are as given.
func saysMessage(tag byte, flags uint16, properties []byte, body []byte) []byte {
	words := frameOf(methodFrame, 1, []byte{0, 60, 0, 60}, short("c"), []byte{0, 0, 0, 0, 0, 0, 0, tag, 0}, short("x"), short("k"))
	words = append(words, frameOf(contentFrame, 1, []byte{0, 60, 0, 0},
		binary.BigEndian.AppendUint64(nil, uint64(len(body))), binary.BigEndian.AppendUint16(nil, flags), properties)...)
	const most = usualFrames - 8
	for len(body) > 0 {
		n := min(len(body), most)
		words = append(words, frameOf(bodyFrame, 1, body[:n])...)
		body = body[n:]
	}
	return words
}

// listen is what comes to a consumer, through an inlet, of what a broker says.
func listen(t *testing.T, frameMax uint32, words io.Reader, n int) (came []amqp.Delivery) {
	t.Helper()
	p := newPurse(1 << 30)
	p.begin()
	in := newInlet(newScript(frameMax, words), p, time.Minute)
	conn, err := amqp.Open(in, amqp.Config{
		SASL: []amqp.Authentication{&amqp.PlainAuth{Username: "a", Password: "b"}}, Vhost: "/", Locale: "en_US",
	})
	require.NoError(t, err)
	lost := conn.NotifyClose(make(chan *amqp.Error, 1))
	defer func() {
		in.Close()
		for range lost { //nolint:revive // until the library has let go of it
		}
	}()
	channel, err := conn.Channel()
	require.NoError(t, err)
	deliveries, err := channel.Consume("q", "c", false, false, false, false, nil)
	require.NoError(t, err)
	for range n {
		select {
		case d := <-deliveries:
			d.Acknowledger = nil
			came = append(came, d)
		case problem := <-lost:
			require.FailNow(t, "the connection is lost", "%v", problem)
		case <-time.After(time.Minute):
			require.FailNow(t, "nothing comes")
		}
	}
	return came
}

func entry(name string, kind byte, value ...[]byte) []byte {
	return append(append(short(name), kind), bytes.Join(value, nil)...)
}

// nested is a value with so many levels of lists.
func nested(levels int) []byte {
	value := []byte{'V'}
	for range levels {
		value = append([]byte{'A'}, long(value)...)
	}
	return value
}

// Whatever a broker has let through is handed on: with its headers as they are or, when the library would end the
// connection for them, with those that matter.
func TestHeadersThatTheLibraryCannotReadEndNothing(t *testing.T) {
	t.Parallel()
	count := entry("x-delivery-count", 'l', []byte{0, 0, 0, 0, 0, 0, 0, 7})
	trace := entry("traceparent", 'S', long([]byte("00-1")))
	many := bytes.Repeat([]byte{'V'}, 9000)
	for name, row := range map[string]struct {
		table   []byte
		leftOut string // why the headers are not whole; nothing when they are
	}{
		"none":             {nil, ""},
		"plain ones":       {entry("a", 'I', []byte{0, 0, 0, 7}), ""},
		"nested":           {append(short("a"), nested(14)...), ""},
		"nested deeply":    {append(short("a"), nested(40)...), "they are nested deeper than 16 levels"},
		"many":             {entry("a", 'A', long(many)), "there are more than 1024"},
		"large":            {entry("a", 'S', long(make([]byte, 100_000))), "they take 100054 bytes, and 16384 are read"},
		"strange":          {entry("a", '?'), "they are of no form that is known"},
		"strange below":    {entry("a", 'F', long(entry("b", '?'))), "they are of no form that is known"},
		"cut off":          {entry("a", 'F', long([]byte{9})), "they are of no form that is known"},
		"bytes below zero": {entry("a", 'x', []byte{0xff, 0xff, 0xff, 0xff}), "they are of no form that is known"},
		"a deep trace":     {bytes.Join([][]byte{append(short("traceparent"), nested(40)...), append(short("x-acquired-count"), nested(40)...)}, nil), "they are nested deeper than 16 levels"},
		"a word of ours":   {entry("x-doorman-body-bytes", 'l', make([]byte, 8)), "one of them is named x-doorman-body-bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			table := bytes.Join([][]byte{count, trace, row.table}, nil)
			if len(row.table) == 0 {
				table = nil
			}
			properties := bytes.Join([][]byte{short("application/json"), long(table), short("17"), short("me")}, nil)
			words := saysMessage(1, hasContentType|hasHeaders|1<<10|1<<7, properties, []byte("one"))
			words = append(words, saysMessage(2, 0, nil, nil)...)
			words = append(words, saysMessage(3, hasContentType, short("b"), []byte("three"))...)
			came := listen(t, usualFrames, iotest.OneByteReader(bytes.NewReader(words)), 3)
			require.Equal(t, "one", string(came[0].Body))
			require.Equal(t, "application/json 17 me", strings.Join([]string{came[0].ContentType, came[0].CorrelationId, came[0].MessageId}, " "))
			if len(row.table) > 0 {
				require.EqualValues(t, 7, came[0].Headers["x-delivery-count"])
				require.Equal(t, "00-1", came[0].Headers["traceparent"])
			}
			if row.leftOut == "" {
				require.NotContains(t, came[0].Headers, leftOut)
			} else {
				require.Equal(t, row.leftOut, came[0].Headers[leftOut])
				require.NotContains(t, came[0].Headers, "a")
			}
			require.Empty(t, came[1].Body)
			require.Equal(t, "three", string(came[2].Body))
		})
	}
}

// What a broker adds to headers that just fitted into a frame is one frame too large, for which the library ends the
// connection.
func TestHeadersThatOutgrewTheFrameAreLeftOut(t *testing.T) {
	t.Parallel()
	const frame = 4096
	fits := long(entry("a", 'S', long(make([]byte, frame-8-14-4-7))))
	words := saysMessage(1, hasHeaders, fits, []byte("a"))
	words = append(words, saysMessage(2, hasHeaders, long(entry("a", 'S', long(make([]byte, frame-8-14-4-6)))), []byte("b"))...)
	came := listen(t, frame, bytes.NewReader(words), 2)
	require.Contains(t, came[0].Headers, "a")
	require.Equal(t, amqp.Table{leftOut: "they do not fit into a frame"}, came[1].Headers)
}

func TestABodyIsCutWhereverItsFramesEnd(t *testing.T) {
	t.Parallel()
	for _, size := range []int{keptBody - 1, keptBody, keptBody + 1, keptBody + 131_064, 3 * keptBody} {
		body := []byte(strings.Repeat("0123456789abcdef", size/16+1)[:size])
		words := saysMessage(1, hasContentType, short("t"), body)
		words = append(words, saysMessage(2, hasHeaders, long(entry("a", 't', []byte{1})), body)...)
		words = append(words, saysMessage(3, 0, nil, []byte("next"))...)
		came := listen(t, usualFrames, bytes.NewReader(words), 3)
		for _, d := range came[:2] {
			require.True(t, bytes.Equal(body[:min(size, keptBody)], d.Body))
			if size > keptBody {
				require.EqualValues(t, size, d.Headers[wholeSize])
			} else {
				require.NotContains(t, d.Headers, wholeSize)
			}
		}
		require.Equal(t, "t", came[0].ContentType)
		require.Equal(t, true, came[1].Headers["a"])
		require.Equal(t, "next", string(came[2].Body))
	}
}

// However the socket gives its bytes and the library asks for them, they are the same.
func FuzzInlet(f *testing.F) {
	f.Add(saysMessage(1, hasHeaders, long(append(short("a"), nested(40)...)), []byte("one")), uint64(1))
	f.Add(append(saysMessage(2, hasContentType, short("t"), make([]byte, 150)), saysMessage(3, 0, nil, nil)...), uint64(2))
	f.Add([]byte("AMQP\x00\x00\x09\x01"), uint64(3))
	f.Fuzz(func(t *testing.T, words []byte, seed uint64) {
		random := rand.New(rand.NewPCG(seed, 0))
		whole := inletReads(t, bytes.NewReader(words), func() int { return 4096 })
		again := inletReads(t, iotest.HalfReader(bytes.NewReader(words)), func() int { return 1 + random.IntN(50) })
		require.True(t, bytes.Equal(whole, again))
	})
}

func inletReads(t *testing.T, words io.Reader, size func() int) (all []byte) {
	t.Helper()
	p := newPurse(1 << 30)
	p.begin()
	i := newInlet(&endingScript{words: words}, p, time.Minute)
	i.keep = 100
	for {
		b := make([]byte, size())
		n, err := i.Read(b)
		all = append(all, b[:n]...)
		if err != nil {
			return all
		}
		require.Positive(t, n)
	}
}

type endingScript struct {
	net.Conn

	words io.Reader
}

func (s *endingScript) Read(p []byte) (int, error)      { return s.words.Read(p) }
func (s *endingScript) SetReadDeadline(time.Time) error { return nil }

// Whatever is in the place of headers, the message comes, and those after it.
func FuzzHeaders(f *testing.F) {
	f.Add([]byte{}, []byte("one"))
	f.Add(entry("x-delivery-count", 'l', make([]byte, 8)), []byte("one"))
	f.Add(append(short("a"), nested(40)...), []byte{})
	f.Add(append(short("traceparent"), nested(40)...), []byte{})
	f.Add(entry("a", 'F', long(bytes.Join([][]byte{entry("b", 'D', make([]byte, 5)), entry("c", 'T', make([]byte, 8)), entry("d", 'x', long([]byte("e"))),
		entry("f", 'A', long([]byte("t\x01b\x02B\x03s\x00\x04u\x00\x05I\x00\x00\x00\x06i\x00\x00\x00\x07f\x00\x00\x00\x08V")))}, nil))), []byte("one"))
	f.Fuzz(func(t *testing.T, table, body []byte) {
		if len(table) > 100_000 || len(body) > 100_000 {
			return
		}
		words := saysMessage(1, hasHeaders|1<<7, append(long(table), short("id")...), body)
		words = append(words, saysMessage(2, 0, nil, []byte("next"))...)
		came := listen(t, usualFrames, bytes.NewReader(words), 2)
		require.True(t, bytes.Equal(body, came[0].Body))
		require.Equal(t, "id", came[0].MessageId)
		require.Equal(t, "next", string(came[1].Body))
	})
}

func TestThePurseHasRoomForOne(t *testing.T) {
	t.Parallel()
	p := newPurse(10 * messageCost)
	_, wanted := p.take(1)
	require.False(t, wanted, "nobody consumes yet")
	turn := p.begin()
	waited, wanted := p.take(1 << 20)
	require.True(t, wanted && !waited)
	require.EqualValues(t, 1<<20+messageCost, p.bytes())
	next := make(chan bool)
	take := func() {
		waited, wanted := p.take(1)
		next <- waited && wanted
	}
	go take()
	p.give(turn-1, 1<<20) // an earlier consumer's
	select {
	case <-next:
		require.FailNow(t, "there is no room")
	case <-time.After(20 * time.Millisecond):
	}
	p.give(turn, 1<<20)
	require.True(t, <-next)
	p.take(7 * messageCost)
	go take()
	p.shut()
	require.False(t, <-next)
	require.Zero(t, p.bytes())
}
