// Package record is the binary form in which both backends keep what a row says beyond its columns: the
// body of an outcome in the log, of an envelope in the parking lot or among dead letters, and of another service's
// message among those.
//
// A body begins with the version of its layout, so that a later program reads what an earlier one wrote.
// Numbers are varints (encoding/binary), texts and data are preceded by their length, ids and hashes are
// their 16 bytes. What a lookup of an id needs stands in front ([Fact], [EnvelopeHash]). Payloads are the
// bytes they were, never encoded anew.
//
//	body := record.AppendOutcome(nil, outcome)     // the columns keep position, id, stream and version
//	read := commands.Outcome{Position: 17, ID: id, Stream: stream, Version: 3}
//	err := record.DecodeOutcome(body, &read)       // read's texts and data share body's memory
//
// Decoding never panics: bytes that no encoder wrote give [ErrCorrupt].
package record
