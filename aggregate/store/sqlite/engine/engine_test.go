package engine_test

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/store/sqlite/engine"
)

func open(t testing.TB, path string) *engine.Conn {
	t.Helper()
	conn, err := engine.Open(path, engine.Options{Create: true, Pragmas: []string{"busy_timeout = 0", "journal_mode = WAL"}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return conn
}

func fresh(t testing.TB) *engine.Conn { return open(t, filepath.Join(t.TempDir(), "x.db")) }

func prepare(t testing.TB, conn *engine.Conn, sql string) *engine.Stmt {
	t.Helper()
	s, err := conn.Prepare(sql)
	require.NoError(t, err)
	return s
}

func TestWhatIsBoundIsReadBack(t *testing.T) {
	t.Parallel()
	s := prepare(t, fresh(t), "SELECT ?1, ?2, ?3, typeof(?2), typeof(?3)")
	for _, value := range []string{"", "a", "\x00", "a\x00b", "Zoë", strings.Repeat("x", 300_000), "short again"} {
		s.BindInt(1, -1<<63)
		s.BindBlob(2, []byte(value))
		s.BindText(3, value)
		row, err := s.Step()
		require.NoError(t, err)
		require.True(t, row)
		require.EqualValues(t, -1<<63, s.Int(0))
		require.Equal(t, []byte(value), s.Blob(1))
		require.Equal(t, value, s.Text(2))
		require.Equal(t, "blob", s.Text(3))
		require.Equal(t, "text", s.Text(4))
		require.False(t, s.IsNull(1))
		row, err = s.Step()
		require.NoError(t, err)
		require.False(t, row)
	}
}

func TestTheHeadOfABlobIsReadByItself(t *testing.T) {
	t.Parallel()
	conn := fresh(t)
	require.NoError(t, conn.Exec("CREATE TABLE kept (number INTEGER PRIMARY KEY, body BLOB)"))
	insert := prepare(t, conn, "INSERT INTO kept (number, body) VALUES (?, ?)")
	large := bytes.Repeat([]byte("abcdefgh"), 40_000)
	for number, body := range [][]byte{large, []byte("abc"), {}} {
		insert.BindInt(1, int64(number))
		insert.BindBlob(2, body)
		require.NoError(t, insert.Run())
		head, err := conn.BlobHead("kept", "body", int64(number), 10)
		require.NoError(t, err)
		require.Equal(t, body[:min(10, len(body))], head)
	}
	_, err := conn.BlobHead("kept", "body", 17, 10)
	require.Error(t, err, "there is no such row")
}

func TestNoBytesAreNullAndEmptyBytesAreNot(t *testing.T) {
	t.Parallel()
	s := prepare(t, fresh(t), "SELECT ?1, ?2")
	s.BindBlob(1, nil)
	s.BindBlob(2, []byte{})
	row, err := s.Step()
	require.NoError(t, err)
	require.True(t, row)
	require.True(t, s.IsNull(0))
	require.Nil(t, s.Blob(0))
	require.False(t, s.IsNull(1))
	require.Equal(t, []byte{}, s.Blob(1))
}

func TestABlobIsACopyAndAViewIsNot(t *testing.T) {
	t.Parallel()
	s := prepare(t, fresh(t), "SELECT x'6131' UNION ALL SELECT x'6232'")
	_, err := s.Step()
	require.NoError(t, err)
	kept := s.Blob(0)
	require.Equal(t, kept, s.View(0))
	_, err = s.Step()
	require.NoError(t, err)
	require.Equal(t, "a1", string(kept))
	require.Equal(t, "b2", string(s.View(0)))
	s.Reset()
}

func TestErrorsTellSQLitesCode(t *testing.T) {
	t.Parallel()
	conn := fresh(t)
	require.NoError(t, conn.Exec("CREATE TABLE t (id BLOB NOT NULL UNIQUE)"))
	insert := prepare(t, conn, "INSERT INTO t VALUES (?)")
	insert.BindBlob(1, []byte("a"))
	require.NoError(t, insert.Run())
	err := insert.Run()
	require.Equal(t, engine.ConstraintUnique, engine.CodeOf(err))
	require.ErrorContains(t, err, "t.id")
	insert.BindNull(1)
	require.Equal(t, engine.Constraint, engine.CodeOf(insert.Run())&0xff)
	insert.BindBlob(1, []byte("b"))
	require.NoError(t, insert.Run(), "a statement goes on after an error")

	_, err = conn.Prepare("SELECT nonsense FROM nowhere")
	require.ErrorContains(t, err, "nowhere")
	insert.BindInt(7, 1)
	require.Error(t, insert.Run(), "there is no parameter 7")
	require.Zero(t, engine.CodeOf(nil))

	_, err = engine.Open(filepath.Join(t.TempDir(), "none", "x.db"), engine.Options{Create: true})
	require.Equal(t, engine.CantOpen, engine.CodeOf(err)&0xff)
	_, err = engine.Open(filepath.Join(t.TempDir(), "x.db"), engine.Options{})
	require.Equal(t, engine.CantOpen, engine.CodeOf(err)&0xff, "nothing is made unless asked for")
}

func TestAConnectionSeesItsSnapshotWhileAnotherWrites(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.db")
	writer, reader := open(t, path), open(t, path)
	require.NoError(t, writer.Exec("CREATE TABLE t (n INTEGER)"))
	require.NoError(t, reader.Exec("BEGIN"))
	count := func() int64 {
		n, err := reader.Int("SELECT count(*) FROM t")
		require.NoError(t, err)
		return n
	}
	require.Zero(t, count())
	require.NoError(t, writer.Exec("INSERT INTO t VALUES (1)"))
	require.Zero(t, count())
	require.True(t, reader.InTransaction())
	require.NoError(t, reader.Exec("COMMIT"))
	require.EqualValues(t, 1, count())
	require.False(t, reader.InTransaction())

	require.NoError(t, writer.Exec("BEGIN IMMEDIATE"))
	require.Equal(t, engine.Busy, engine.CodeOf(reader.Exec("BEGIN IMMEDIATE"))&0xff)
	require.NoError(t, writer.Exec("ROLLBACK"))
}

func TestCheckpointsMoveTheLogIntoTheFile(t *testing.T) {
	t.Parallel()
	conn := fresh(t)
	require.NoError(t, conn.Exec("CREATE TABLE t (b BLOB)"))
	insert := prepare(t, conn, "INSERT INTO t VALUES (?)")
	insert.BindBlob(1, bytes.Repeat([]byte{1}, 100_000))
	require.NoError(t, insert.Run())
	before, moved, err := conn.Checkpoint(engine.Look)
	require.NoError(t, err)
	require.Greater(t, before, 10)
	require.Zero(t, moved)
	frames, moved, err := conn.Checkpoint(engine.Passive)
	require.NoError(t, err)
	require.Equal(t, before, frames)
	require.Equal(t, before, moved)
	frames, _, err = conn.Checkpoint(engine.Truncate)
	require.NoError(t, err)
	require.Zero(t, frames)
}

func TestClosingTwiceIsNoError(t *testing.T) {
	t.Parallel()
	conn := fresh(t)
	s := prepare(t, conn, "SELECT 1")
	require.NoError(t, conn.Close())
	require.NoError(t, conn.Close())
	s.Close()
}

func TestAnInsertAllocatesNothing(t *testing.T) {
	conn := fresh(t)
	require.NoError(t, conn.Exec("CREATE TABLE t (n INTEGER, b BLOB, c TEXT)"))
	insert := prepare(t, conn, "INSERT INTO t VALUES (?, ?, ?)")
	require.NoError(t, conn.Exec("BEGIN"))
	data := bytes.Repeat([]byte{1}, 200)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		insert.BindInt(1, 7)
		insert.BindBlob(2, data)
		insert.BindText(3, "order/42")
		if err := insert.Run(); err != nil {
			panic(err)
		}
	}))
	require.NoError(t, conn.Exec("COMMIT"))
}
