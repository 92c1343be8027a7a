// Package aggregate is the core of Doorman: who may come in, and what comes of it. It does no I/O, and
// time is an argument, so all of it can be tested by calling it.
//
// It has two sides.
//
// # The doorman's side
//
// [Judge] is the ticket rules (DESIGN section 2), a function of one [Question]. A [Round] applies them to
// a batch of commands, as if one by one in the order they came: it looks at each stream's [Instance], lets
// in, parks, releases and rejects, and gathers what is to be committed in a [Result]. Folder worker feeds
// it and does the I/O.
//
// # The author's side
//
// To the engine an aggregate type is a [Type]. Its author writes plain Go and never sees that interface:
// a state, its commands and its events as structs, a function that judges each command, and one that
// applies each event.
//
//	type Counter struct {
//		Total int `json:"total"`
//	}
//
//	func (c Counter) Count(command Count) ([]Event, error) {
//		if c.Total+command.By < 0 {
//			return nil, aggregate.Refuse("below_zero", "there are only %d", c.Total)
//		}
//		return []Event{Counted{By: command.By}}, nil
//	}
//
//	func (c Counter) counted(e Counted) Counter {
//		c.Total += e.By
//		return c
//	}
//
// [Define], [Handle] and [On] make a type of these, [Upcast] keeps old events readable, and a [Registry]
// holds the types of a program. Package aggregatetest tells their tests as stories; package order is the
// example to copy, package document the type for whoever needs no rules.
package aggregate
