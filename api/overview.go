package api

import (
	"time"

	"resin-supervisor/api/overview"
)

// overview also answers before the first listing of the engine, to say why the engine cannot be reached.
func (h *handlers) overview(*call) Answer {
	state, facts, vitals := h.apps.View(), h.dev.Facts(), h.dev.Vitals()
	o := overview.Overview{
		Time:     time.Now().UTC(),
		Started:  h.started.UTC(),
		Revision: state.Revision,
		Device: overview.Device{
			Name:              state.DeviceName,
			DeviceType:        facts.DeviceType,
			Arch:              facts.Arch,
			OSVersion:         facts.OSVersion,
			SupervisorVersion: facts.SupervisorVersion,
			APIPort:           facts.APIPort,
			IPAddress:         facts.IPAddress,
			MACAddress:        facts.MACAddress,
			Managed:           facts.Managed,
			Registered:        facts.Registered,
			LocalMode:         state.LocalMode,
			CloudReachable:    facts.CloudReachable,
			MemoryBytes:       vitals.Resident,
			CPUCelsius:        vitals.CPUCelsius,
		},
		Synced:      state.Synced,
		EngineError: state.EngineError,
		HasTarget:   state.HasTarget,
		Applying:    state.Applying,
		Waiting:     state.Waiting,
		Pending:     state.Pending,
		Failed:      state.Failed,
		Downloaded:  state.Downloaded,
		NextAttempt: state.NextAttempt,
		Apps:        make([]overview.App, 0, len(state.Apps)),
		Problems:    make([]overview.Problem, 0, len(state.LastErrors)),
	}
	for i := range state.Apps {
		app := overview.OfApp(&state.Apps[i])
		app.UpdateStatus = summarize(&state.Apps[i]).UpdateStatus
		app.UserLock = h.apps.UserLock(app.ID)
		o.Apps = append(o.Apps, app)
	}
	for _, p := range state.LastErrors {
		o.Problems = append(o.Problems, overview.Problem(p))
	}
	if facts.ConfigNotice != "" {
		o.Problems = append(o.Problems, overview.Problem{
			At:      h.started,
			Subject: "config.json",
			Step:    "identity",
			Reason:  facts.ConfigNotice,
		})
	}
	return document(o)
}
