// Package postgrestest gives tests a Postgres of their own: a fresh schema on a server that must be
// there.
//
//	config := postgres.Config{URL: postgrestest.URL(), Schema: postgrestest.Schema(t), Migrate: true}
//
// The server is the one that the environment variable DOORMAN_TEST_POSTGRES_URL names, and
// postgres://postgres@127.0.0.1:5432/postgres otherwise. A server that does not answer fails the test:
// nothing is skipped in silence. A test that crashes one makes a [Server] of its own.
package postgrestest

import (
	"context"
	"crypto/rand"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Variable names the environment variable with the server's URL.
const Variable = "DOORMAN_TEST_POSTGRES_URL"

const defaultURL = "postgres://postgres@127.0.0.1:5432/postgres?sslmode=disable"

// URL is the server's.
func URL() string {
	if url := os.Getenv(Variable); url != "" {
		return url
	}
	return defaultURL
}

// Schema names a schema that nobody else uses and that does not exist yet. The end of the test drops it
// with everything that was made in it.
func Schema(t testing.TB) string {
	t.Helper()
	name := "test_" + strings.ToLower(rand.Text())
	if err := tell("select 1"); err != nil {
		missing(t, err)
	}
	t.Cleanup(func() {
		if err := tell("drop schema if exists " + name + " cascade"); err != nil {
			t.Errorf("the schema %s stays behind: %v", name, err)
		}
	})
	return name
}

// shared is one connection for all tests of a process: on a slow machine each costs the server as much as a whole schema.
var shared struct {
	mu   sync.Mutex
	conn *pgx.Conn
}

// tell makes the connection anew when it was lost since it was used last.
func tell(sql string) error {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if shared.conn != nil {
		if _, err := shared.conn.Exec(ctx, sql); !shared.conn.IsClosed() {
			return err
		}
	}
	conn, err := pgx.Connect(ctx, URL())
	if err != nil {
		return err
	}
	shared.conn = conn
	_, err = conn.Exec(ctx, sql)
	return err
}

// Connect gives a connection of the test's own, to look at tables and hold locks with. The end of the
// test closes it.
func Connect(t testing.TB) *pgx.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, URL())
	if err != nil {
		missing(t, err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func missing(t testing.TB, err error) {
	t.Helper()
	t.Fatalf("This test needs Postgres, and none answers at the address in %s (by default %s): "+
		"run it with `make test`, which starts one. %v", Variable, defaultURL, err)
}
