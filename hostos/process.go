package hostos

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Gauge measures this process and the processor's temperature for the metrics endpoint. A reading costs a few system
// calls and almost no memory.
type Gauge struct{ sensor string }

// NewGauge finds the processor's sensor.
func NewGauge() Gauge { return Gauge{newHardware("/proc", "/sys").sensor()} }

// Celsius returns the temperature of the processor, 0 without a sensor.
func (g Gauge) Celsius() float64 { return float64(readNumber(g.sensor, 0)) / 1000 }

// Resident returns the resident memory of the process in bytes, including pages of the program file.
func (Gauge) Resident() int64 { return readNumber("/proc/self/statm", 1) * int64(os.Getpagesize()) }

// CPU returns the processor time that the process has used.
func (Gauge) CPU() time.Duration {
	var used unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &used) != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// readNumber reads one of the numbers in a small file, counted from 0. It returns 0 if the file or number is missing.
func readNumber(path string, field int) int64 {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	var buffer [128]byte
	n, err := unix.Read(fd, buffer[:])
	if err != nil {
		return 0
	}
	value := int64(0)
	for _, c := range buffer[:n] {
		switch {
		case c >= '0' && c <= '9' && field == 0:
			value = value*10 + int64(c-'0')
		case c == ' ' || c == '\n':
			field--
		}
	}
	return value
}
