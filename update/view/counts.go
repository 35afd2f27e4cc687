package view

// ApplyBounds are the upper bounds of the classes that applies are counted in, in seconds.
var ApplyBounds = [...]int{1, 5, 15, 60, 300, 1800}

// Counts is what the agent did since it started.
type Counts struct {
	_ [0]func() // nobody compares it: no code for that

	Applies      [len(ApplyBounds) + 1]uint64 // ended with the target reached, by class; the last has no bound
	ApplySeconds float64                      // that all of them took together
	StepFailures uint64
	Pulls        uint64 // images fetched
	PullFailures uint64 // attempts to fetch one that failed
	EngineCalls  uint64
	EngineErrors uint64 // calls that were not answered, or with a status from 500 on
}
