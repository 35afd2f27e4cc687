package harness

import "time"

// Status is what the supervisor says of the device as a whole: GET /supervisor/v1/status.
type Status struct {
	UpdateFailed bool
	NextAttempt  time.Time
	Apps         []struct {
		Name, Commit, TargetCommit, UpdateStatus, RolledBack, Rejected string
		Containers                                                     []struct {
			ServiceName, Status, Health, Reason, Error string
			ExitCode                                   int
		}
	}
	Problems []struct {
		Subject, Step, Reason, Error string
		Retry                        time.Time
		Repeated                     bool
	}
}

// Status reads the Status of the device.
func (s *Supervisor) Status() Status {
	s.t.Helper()
	var status Status
	s.Get("/supervisor/v1/status").JSON(s.t, &status)
	return status
}
