//go:build unix

package faults

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ticketed/doorman/commands"
)

// keep writes everything that is known of a round into a folder of its own.
func (r *round) keep(found []string) (folder string, err error) {
	folder, err = filepath.Abs(filepath.Join(*soakKeep, fmt.Sprintf("%d-%s", r.seed, r.name)))
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(folder, 0o750); err != nil {
		return "", err
	}
	story := append(append([]string{}, r.notes...), found...)
	if err := os.WriteFile(filepath.Join(folder, "story.txt"), []byte(strings.Join(story, "\n")+"\n"), 0o600); err != nil {
		return "", err
	}
	rows, _ := r.journal.after(r.start)
	views := map[commands.ID]commands.CommandView{}
	if r.auditor != nil {
		views = r.auditor.views
	}
	r.load.mu.Lock()
	all := r.load.all
	r.load.mu.Unlock()
	for _, file := range []struct {
		name  string
		write func(*json.Encoder) error
	}{
		{"commands.jsonl", func(to *json.Encoder) error { return writeAll(to, all, (*sent).line) }},
		{"log.jsonl", func(to *json.Encoder) error { return writeAll(to, rows, row.line) }},
		{"outcomes.jsonl", func(to *json.Encoder) error {
			return writeAll(to, rows, func(o row) any { return views[o.id] })
		}},
		{"published.jsonl", func(to *json.Encoder) error { return writeAll(to, r.came, func(m message) any { return m }) }},
		{"readers.jsonl", func(to *json.Encoder) error { return writeAll(to, r.readers, (*reader).line) }},
	} {
		if err := writeFile(filepath.Join(folder, file.name), file.write); err != nil {
			return "", err
		}
	}
	return folder, r.copyLogs(folder)
}

func writeFile(path string, write func(*json.Encoder) error) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	w := bufio.NewWriter(file)
	if err := write(json.NewEncoder(w)); err != nil {
		return err
	}
	return w.Flush()
}

func writeAll[T any](to *json.Encoder, all []T, line func(T) any) error {
	for _, each := range all {
		if err := to.Encode(line(each)); err != nil {
			return err
		}
	}
	return nil
}

// line is what the history says of a command: itself, and each answer with its moment.
func (s *sent) line() any {
	s.mu.Lock()
	defer s.mu.Unlock()
	answers := make([]string, len(s.answers))
	for i, a := range s.answers {
		answers[i] = fmt.Sprintf("%s %s %d %s", a.at.UTC().Format(time.StampMicro), a.gateway, a.status, a.text)
	}
	return struct {
		Command  json.RawMessage `json:"command"`
		Lane     int             `json:"lane"`
		Orphan   bool            `json:"orphan,omitempty"`
		Accepted bool            `json:"accepted"`
		Answers  []string        `json:"answers"`
	}{s.AppendTo(nil), s.Stream.Lane(lanes), s.orphan, s.accepted, answers}
}

// line is what the history says of an outcome in the log.
func (r row) line() any {
	return struct {
		Position uint64          `json:"position"`
		Version  uint64          `json:"version"`
		Landed   bool            `json:"landed"`
		ID       string          `json:"id"`
		Stream   commands.Stream `json:"stream"`
		Lane     int             `json:"lane"`
		Seen     string          `json:"seen"`
	}{r.position, r.version, r.landed, r.id.String(), r.stream, r.stream.Lane(lanes), r.seen.UTC().Format(time.StampMicro)}
}

// line is what the history says of a reader.
func (r *reader) line() any {
	r.mu.Lock()
	defer r.mu.Unlock()
	own := map[string][]string{}
	for id, heard := range r.heard {
		own[id.String()] = heard
	}
	streams := map[string][]uint64{}
	for s, k := range r.known {
		streams[s.String()] = k.positions
	}
	return struct {
		Name    string              `json:"name"`
		Session string              `json:"session"`
		Mark    string              `json:"mark"`
		Opened  int                 `json:"connections"`
		Ends    []string            `json:"ends"`
		Own     map[string][]string `json:"own"`
		Streams map[string][]uint64 `json:"streams"`
	}{r.name, r.session, r.mark.String(), r.opened, r.ends, own, streams}
}
