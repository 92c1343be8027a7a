//go:build !race

package intake_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/intake"
)

// One command a POST is the hot path. The race detector makes pools forget, which is why it is not asked.
func TestAcceptingOneCommandAllocatesLittle(t *testing.T) {
	s := around()
	s.Send = func(_ *commands.Envelope, done func(error)) { done(nil) }
	in, err := intake.New(s.Config)
	require.NoError(t, err)
	text := oneCommand()
	content := &body{}
	r := httptest.NewRequest("POST", "/v1/commands", nil)
	r.Header.Set("Content-Type", "application/json")
	r.Body, r.ContentLength = content, int64(len(text))
	w := &sink{header: http.Header{}}
	allocs := testing.AllocsPerRun(200, func() {
		content.Reset(text)
		clear(w.header)
		in.ServeHTTP(w, r)
	})
	require.Equal(t, 202, w.status)
	require.LessOrEqual(t, allocs, 4.0, "what was decoded, the header's map and the Location")
}
