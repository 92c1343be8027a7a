// Package engine drives SQLite without database/sql: connections, prepared statements, bound parameters,
// rows. It exists for speed alone. On the commit path, database/sql's driver costs an allocation and a copy
// for every parameter and several more for every row; measured with our row shape, that is half of the
// processor time of an insert. Here a statement keeps room for its parameters, and rows are read in place.
//
//	conn, err := engine.Open(path, engine.Options{Pragmas: []string{"busy_timeout = 5000"}})
//	insert, err := conn.Prepare("INSERT INTO log (position, id) VALUES (?, ?)")
//	insert.BindInt(1, 17)
//	insert.BindBlob(2, id[:])
//	err = insert.Run()
//
// A connection and its statements belong to one goroutine at a time. Errors are [*Error] with SQLite's
// extended result code.
package engine
