package postgres_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/store/postgres"
)

func TestEverythingWrongWithAConfigurationIsToldAtOnce(t *testing.T) {
	t.Parallel()
	config := postgres.Config{Schema: strings.Repeat("s", 64), Lanes: -1, MaxConns: -1, Timeout: -time.Second}
	_, err := postgres.Open(context.Background(), config)
	for _, part := range []string{"a URL is needed", "63 bytes at most", "lanes must be between 1 and 4096", "max conns", "time-out"} {
		require.ErrorContains(t, err, part)
	}
	require.NoError(t, postgres.Config{URL: "host=db user=doorman pool_max_conns=3"}.Validate())
	err = postgres.Config{URL: "postgres://ann:secret@db:99999/x"}.Validate()
	require.ErrorContains(t, err, "postgres: URL:")
	require.NotContains(t, err.Error(), "secret")
}

// A schema may be called anything that Postgres allows.
func TestASchemaWithAnUnusualName(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.config.Schema += ` "Ünüsual", x`
	t.Cleanup(func() { b.exec(`drop schema "` + strings.ReplaceAll(b.config.Schema, `"`, `""`) + `" cascade`) })
	s := b.open()
	w := newWriter(t, s, 0)
	_, err := w.commit(w.landings(2))
	require.NoError(t, err)
	readThrough(t, s)
}
