package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ticketed/doorman/aggregate/store"
)

// HeldError says that other processes hold the store, so that this one cannot.
type HeldError struct {
	By    string // for people to read
	Alone bool   // there is one, and it holds the store alone
}

func (e *HeldError) Error() string { return "the store is held by " + e.By }

// Hold says of a process that it uses the store, alone or together with others that say the same: a lock of a session of
// its own. The server drops it when the process dies, at once, or within some ten seconds after its machine did. It guards
// nothing: a claim to lanes does. It is for telling a process that is one too many so.
//
// A hold is used by one goroutine at a time.
type Hold struct {
	session *pgx.ConnConfig
	key     int64
	alone   bool
	conn    *pgx.Conn // nil while nothing is held
}

const (
	// holdPrefix begins the application names of sessions that hold a store. What follows is nobody else's, and then the
	// name of the process.
	holdPrefix = "doorman hold "
	holdTag    = 10
)

// NewHold is for a process of that name; Keep takes it.
func (s *Store) NewHold(name string, alone bool) (*Hold, error) {
	pool, err := s.config.pool(1)
	if err != nil {
		return nil, err
	}
	h := &Hold{session: pool.ConnConfig, alone: alone}
	name = holdPrefix + rand.Text()[:holdTag] + " " + name
	h.session.RuntimeParams["application_name"] = name[:min(len(name), 63)]
	hash := fnv.New64a()
	hash.Write([]byte("doorman's hold on " + s.config.Schema))
	h.key = int64(hash.Sum64())
	return h, nil
}

const (
	// noticeSoon has the server notice within ten seconds that the machine of its client is gone. By default it takes two
	// hours for that.
	noticeSoon = `set tcp_keepalives_idle = 5; set tcp_keepalives_interval = 1; set tcp_keepalives_count = 5`

	tryLock = `select case when $2 then pg_try_advisory_lock($1) else pg_try_advisory_lock_shared($1) end`

	// whoHolds gives each holder's session, whether it holds alone, and whether it was this session's predecessor, which
	// it ends.
	whoHolds = `
select coalesce(a.application_name, ''), l.mode = 'ExclusiveLock',
       coalesce(a.application_name = current_setting('application_name') and pg_terminate_backend(l.pid), false)
  from pg_locks l
  left join pg_stat_activity a on a.pid = l.pid
 where l.locktype = 'advisory' and l.granted and l.objsubid = 1
   and l.database = (select oid from pg_database where datname = current_database())
   and (l.classid::bigint << 32 | l.objid::bigint) = $1`
)

// Keep takes the hold, and takes it anew when its session was lost, as when the server was restarted. It fails with a
// *HeldError when others have it, and with store.ErrUnavailable when that is not known.
func (h *Hold) Keep(ctx context.Context) error {
	if h.conn != nil && h.conn.Ping(ctx) == nil {
		return nil
	}
	h.close()
	conn, err := pgx.ConnectConfig(ctx, h.session.Copy())
	if err != nil {
		return failure("connect to hold the store", err)
	}
	h.conn = conn
	var taken bool
	_, err = conn.Exec(ctx, noticeSoon)
	if err == nil {
		err = conn.QueryRow(ctx, tryLock, h.key, h.alone).Scan(&taken)
	}
	if err == nil && taken {
		return nil
	}
	defer h.close()
	if err != nil {
		return failure("hold the store", err)
	}
	return h.heldBy(ctx)
}

// Release gives the hold up.
func (h *Hold) Release(ctx context.Context) {
	if h.conn != nil {
		_, _ = h.conn.Exec(ctx, `select pg_advisory_unlock_all()`) // it ends with the session in any case
	}
	h.close()
}

func (h *Hold) close() {
	if h.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = h.conn.Close(ctx) // there is nothing left to say
	h.conn = nil
}

// heldBy makes an error of who holds the store. A session that this process had before, and of which the server has not
// noticed yet that it is over, is ended.
func (h *Hold) heldBy(ctx context.Context) error {
	rows, _ := h.conn.Query(ctx, whoHolds, h.key) // what is wrong is told by the rows
	var held HeldError
	var names []string
	var name string
	var alone, ours bool
	_, err := pgx.ForEachRow(rows, []any{&name, &alone, &ours}, func() error {
		if !ours {
			names, held.Alone = append(names, processName(name)), alone
		}
		return nil
	})
	if err != nil {
		return failure("ask who holds the store", err)
	}
	if names == nil {
		return fmt.Errorf("%w: postgres: %w", store.ErrUnavailable, errJustReleased)
	}
	slices.Sort(names)
	held.By = strings.Join(names, ", ")
	return &held
}

var errJustReleased = errors.New("the store is being released")

// processName is the name in that of a session.
func processName(session string) string {
	if tagged, ok := strings.CutPrefix(session, holdPrefix); ok && len(tagged) > holdTag {
		return strings.TrimSpace(tagged[holdTag:])
	}
	return "a process whose name is not shown"
}
