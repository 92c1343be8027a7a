package aggregate

import "github.com/ticketed/doorman/commands"

// Result is what one round of judging came to, in the order it happened. The worker commits it as one
// transaction and then shows it to observers.
type Result struct {
	Outcomes []*commands.Outcome
	Park     []*Waiting    // newly parked
	Extend   []*Waiting    // parked before, deadline moved
	Unpark   []commands.ID // parked before, settled now; their outcomes are in Outcomes
	Answers  []Answer
}

// Answer is what a single sender is told without anything being remembered: the earlier outcome again,
// or that the id is taken by another command.
type Answer struct {
	Ruling  Ruling // Repeat or Conflict
	ID      commands.ID
	Hash    commands.Hash // of the payload that this sender sent
	Session string        // the sender's
}
