package commands

// Reason is the machine-readable code of a rejection or a refusal, the `code` of a problem.
type Reason string

// Rejections: outcomes, remembered for ever (DESIGN section 2).
const (
	SelfTicket          Reason = "self_ticket"          // the ticket is the command's own id
	StaleTicket         Reason = "stale_ticket"         // events followed the action the ticket names
	PredecessorRejected Reason = "predecessor_rejected" // the ticket names a rejected command
	PredecessorMissing  Reason = "predecessor_missing"  // the deadline passed before the predecessor landed
	TicketCycle         Reason = "ticket_cycle"         // commands waiting on each other in a loop
	ParkingFull         Reason = "parking_full"         // no room to wait
	TicketNotCurrent    Reason = "ticket_not_current"   // strict, and the ticket is not valid now
	RejectedByOperator  Reason = "rejected_by_operator" // somebody took a parked command off
	UnknownCommand      Reason = "unknown_command"      // the type has no such command
	Invalid             Reason = "invalid"              // the data breaks the command's schema
	Refused             Reason = "refused"              // a rule of the aggregate says no
	Failed              Reason = "failed"               // the aggregate's code broke
)

// Refusals: answers given before a command was accepted; nothing is remembered of them.
const (
	Malformed            Reason = "malformed"
	MethodNotAllowed     Reason = "method_not_allowed"
	NotFound             Reason = "not_found"
	TooLarge             Reason = "too_large"
	UnsupportedMediaType Reason = "unsupported_media_type"
	RateLimited          Reason = "rate_limited"
	PolicyForbidden      Reason = "policy_forbidden"
	UnknownType          Reason = "unknown_type"
	TicketRequired       Reason = "ticket_required"
	IDConflict           Reason = "id_conflict"
	PredecessorRefused   Reason = "predecessor_refused"
	Unavailable          Reason = "unavailable"
	FateUnknown          Reason = "fate_unknown"
	NotAcceptable        Reason = "not_acceptable"
	Internal             Reason = "internal"
)

// Refusals of what operators ask for.
const (
	Forbidden      Reason = "forbidden"       // from where it came it may not be asked
	NotParked      Reason = "not_parked"      // the command is known, and does not wait any more
	AlreadyDecided Reason = "already_decided" // somebody decided otherwise on the dead letter
	NotRetriable   Reason = "not_retriable"   // the dead letter holds nothing that could be sent again
)

// reasons maps every reason to its HTTP status and the title of its problem (DESIGN section 3).
var reasons = map[Reason]struct {
	status int
	title  string
}{
	SelfTicket:          {409, "The command names itself as its predecessor"},
	StaleTicket:         {409, "Somebody changed this first"},
	PredecessorRejected: {409, "The action before this one was rejected"},
	PredecessorMissing:  {409, "The action before this one never arrived"},
	TicketCycle:         {409, "Commands wait on each other in a circle"},
	ParkingFull:         {409, "Too many commands are waiting"},
	TicketNotCurrent:    {412, "The ticket is not the current one"},
	RejectedByOperator:  {409, "An operator rejected the waiting command"},
	UnknownCommand:      {422, "The type has no such command"},
	Invalid:             {422, "The data does not fit the command"},
	Refused:             {422, "A rule says no"},
	Failed:              {500, "The command could not be carried out"},

	Malformed:            {400, "The request cannot be read"},
	MethodNotAllowed:     {405, "This address does not take that method"},
	NotFound:             {404, "There is nothing here yet"},
	TooLarge:             {413, "The request is too large"},
	UnsupportedMediaType: {415, "The body must be application/json"},
	RateLimited:          {429, "Too many requests"},
	PolicyForbidden:      {403, "The type does not allow this policy here"},
	UnknownType:          {404, "There is no such stream type"},
	TicketRequired:       {428, "A ticket is required"},
	IDConflict:           {422, "Another command has this id"},
	PredecessorRefused:   {409, "The command this one follows was refused"},
	Unavailable:          {503, "Nothing was accepted; try again"},
	FateUnknown:          {503, "It may have been accepted; send it again with the same id"},
	NotAcceptable:        {406, "The answer cannot be given in that form"},
	Internal:             {500, "Something broke here"},

	Forbidden:      {403, "This may not be asked from there"},
	NotParked:      {409, "The command does not wait any more"},
	AlreadyDecided: {409, "It has been decided otherwise already"},
	NotRetriable:   {422, "It cannot be sent again"},
}

// Status is the HTTP status that a reason is answered with; 500 for one that is not known.
func (r Reason) Status() int {
	if known, ok := reasons[r]; ok {
		return known.status
	}
	return 500
}

// Title is the short summary of a reason, the same for every occurrence (RFC 9457 section 3.1.3).
func (r Reason) Title() string { return reasons[r].title }
