package deploy

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands/client"
)

// DESIGN section 6: read models follow from the log; trouble with one never keeps commands out.
func TestADamagedCatalogDoesNotKeepTheProgramFromStarting(t *testing.T) {
	t.Parallel()
	c := local(t)
	first, call := start(t, c)
	landed := create(`{}`)
	_, err := call.Send(t.Context(), landed, client.SendOptions{Wait: 20 * time.Second})
	require.NoError(t, err)
	require.NoError(t, first.Stop())
	file := filepath.Join(c.DataDir, "projections.db")
	require.NoError(t, os.WriteFile(file, []byte(strings.Repeat("this is a text and no database. ", 100)), 0o600))

	_, call = start(t, c)
	require.Equal(t, http.StatusOK, call.do("GET", "/readyz", "").status)
	require.Eventually(t, func() bool {
		listed := call.do("GET", "/v1/streams", "")
		if listed.status == http.StatusServiceUnavailable {
			require.Contains(t, listed.body, "the catalogue of streams is being made anew: ")
			return false
		}
		require.Equal(t, http.StatusOK, listed.status, listed.body)
		require.Contains(t, listed.body, landed.Stream.String(), "no part is told as if it were all")
		return true
	}, 30*time.Second, time.Millisecond)
	aside, err := filepath.Glob(file + ".damaged-*")
	require.NoError(t, err)
	require.Len(t, aside, 1)
}

func TestADirectoryInPlaceOfTheCatalogIsNamed(t *testing.T) {
	t.Parallel()
	c := local(t)
	file := filepath.Join(c.DataDir, "projections.db")
	require.NoError(t, os.Mkdir(file, 0o700))
	p, err := New(c, builtIn())
	require.NoError(t, err)
	require.ErrorContains(t, p.Start(t.Context()), file+" is a directory")
}

// DESIGN section 3: a gateway is ready when bus and store answer. A read model is told of and turns nobody away.
func TestWhatCommandsDoNotNeedIsNamedByAProgramThatIsReady(t *testing.T) {
	t.Parallel()
	var trouble error
	h := &health{aside: []check{{"catalog", func(context.Context) error { return trouble }}}}
	h.enter(stageServing)
	ready := func() *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ready(w, httptest.NewRequest("GET", "/readyz", http.NoBody))
		return w
	}
	require.Equal(t, `{"status":"ready"}`, ready().Body.String())
	trouble = errors.New("it is being made anew")
	require.Equal(t, http.StatusOK, ready().Code)
	require.Equal(t, `{"status":"ready","degraded":[{"part":"catalog","detail":"it is being made anew"}]}`, ready().Body.String())
	h.checks = []check{{"store", func(context.Context) error { return errors.New("away") }}}
	require.Equal(t, http.StatusServiceUnavailable, ready().Code)
	require.NotContains(t, ready().Body.String(), "catalog", "what is missing comes first")
}
