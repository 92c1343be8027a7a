package vetting

import "github.com/ticketed/doorman/commands"

// CheckArray holds each command of an array that is not refused yet against the type it is for, and then refuses
// what the others of the array speak against.
func (r *Rules) CheckArray(entries []*Entry) {
	for _, e := range entries {
		if e.Refused == nil {
			r.Check(e)
		}
	}
	refuseConflicts(entries)
	refuseSuccessors(entries)
}

// refuseConflicts refuses those whose id an earlier command of the same array has, when they are not the
// same command: lanes are worked side by side, so only here is known which came first.
func refuseConflicts(entries []*Entry) {
	first := make(map[commands.ID]*Entry, len(entries))
	for _, e := range entries {
		if e.Refused != nil {
			continue
		}
		earlier, taken := first[e.Env.ID]
		switch {
		case !taken:
			first[e.Env.ID] = e
		case earlier.Env.Command.Hash() != e.Env.Command.Hash():
			e.Refuse(commands.IDConflict, ConflictDetail)
		}
	}
}

// refuseSuccessors refuses what follows, directly or not, a command of the same array that is refused.
func refuseSuccessors(entries []*Entry) {
	var last []*Entry // refused, their successors not looked for yet
	for _, e := range entries {
		// The id of a conflict names the earlier command, which is not refused: what follows it is judged
		// by what becomes of that one. So it is also where the earlier command is one of another request,
		// which is found out only once all of this array has been handed over: what names the id is
		// accepted then, and comes to the outcome that the command which has the id gives it.
		if e.Refused != nil && e.Env.ID != commands.None && e.Refused.Code != commands.IDConflict {
			last = append(last, e)
		}
	}
	for len(last) > 0 {
		predecessor := last[0]
		last = last[1:]
		for _, e := range entries {
			if e.Refused == nil && e.Env.Ticket == predecessor.Env.ID {
				e.Refuse(commands.PredecessorRefused,
					"its ticket names a command of this array that was refused: "+string(predecessor.Refused.Code))
				last = append(last, e)
			}
		}
	}
}
