package load

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const accepted = "HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 2\r\n" +
	"Date: Sun, 22 Nov 2026 02:00:00 GMT\r\n\r\n{}"

// RFC 9112: what a server may send and this client must read.
func TestAnswersAreRead(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		text string
		want response
	}{
		"with a length": {accepted, response{status: 202, body: []byte("{}")}},
		"names in any case": {
			"HTTP/1.1 503 x\r\ncontent-LENGTH:0\r\nRETRY-after: 7 \r\nconnection: Close\r\n\r\n",
			response{status: 503, body: []byte{}, retryAfter: 7 * time.Second, closes: true},
		},
		"in chunks": {
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;x=y\r\n \r\nA\r\n0123456789\r\n0\r\n\r\n",
			response{status: 200, body: []byte("hello 0123456789")},
		},
		"with trailers": {
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nA: b\r\nC: d\r\n\r\n",
			response{status: 200, body: []byte("x")},
		},
		"without a body":         {"HTTP/1.1 204 No Content\r\nDate: x\r\n\r\n", response{status: 204, body: []byte{}}},
		"without a header field": {"HTTP/1.1 304 \r\n\r\n", response{status: 304, body: []byte{}}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, took, err := parseResponse([]byte(c.text + "next"))
			require.NoError(t, err)
			require.Equal(t, c.want, got)
			require.Equal(t, len(c.text), took)
			for i := range c.text {
				_, took, err := parseResponse([]byte(c.text[:i]))
				require.NoError(t, err, "cut off after %d bytes", i)
				require.Zero(t, took, "cut off after %d bytes", i)
			}
		})
	}
}

func TestWhatIsNoAnswerIsAnError(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"HTTP/1.0 200 OK\r\n\r\n",
		"SSH-2.0-x\r\n\r\n",
		"HTTP/1.1 1000 x\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\n",
		"HTTP/1.1 200 OK\r\n\r\nuntil the end",
		"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
	} {
		_, _, err := parseResponse([]byte(text))
		require.ErrorIs(t, err, errProtocol, "%q", text)
	}
	_, _, err := parseResponse(make([]byte, maxHeader+1))
	require.ErrorIs(t, err, errProtocol)
}

func FuzzParseResponse(f *testing.F) {
	f.Add([]byte(accepted))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, took, err := parseResponse(data)
		if took < 0 || took > len(data) || err != nil && took != 0 {
			t.Fatalf("took %d of %d bytes: %v", took, len(data), err)
		}
		if took == 0 || err != nil {
			return
		}
		if r.status < 200 {
			t.Fatalf("status %d", r.status)
		}
		again, sameTook, err := parseResponse(data[:took])
		if err != nil || sameTook != took || again.status != r.status || string(again.body) != string(r.body) {
			t.Fatal("what follows an answer changed how it was read")
		}
	})
}

func BenchmarkParseResponse(b *testing.B) {
	data := []byte(accepted)
	b.ReportAllocs()
	for b.Loop() {
		_, _, _ = parseResponse(data)
	}
}
