package logs

import (
	"context"
	"fmt"
	"sync"
	"time"

	"resin-supervisor/update/view"
)

const (
	maxQueue = 256 << 10 // bytes of encoded lines in the queue (docs/spec/cloud.md 5.3)
	maxBlock = 16 << 10  // bytes of a block; only a single line may be longer
)

// queue keeps encoded lines in blocks until they are sent. When it is full, it drops and counts new lines.
type queue struct {
	some chan struct{} // holds a token: there are new lines
	full chan struct{} // holds a token: a block is full

	mu         sync.Mutex
	blocks     []*block
	size       int // bytes of the blocks and of the one that is being sent
	suppressed int // dropped lines
	spare      *block
	room       chan struct{} // closed when there is room again; nil when nobody waits
}

// block is a part of the queue that is sent as a whole.
type block struct {
	text  []byte
	marks []mark // the last one of each output
}

// mark is the position of a line in the output of a container. The zero mark is none.
type mark struct {
	track    *track
	stderr   bool
	position position
}

func newQueue() *queue {
	return &queue{some: make(chan struct{}, 1), full: make(chan struct{}, 1)}
}

// add appends a line. Without room it drops the line if wait is nil, else it waits for room until wait ends. It reports
// whether there is room for many more lines.
func (q *queue) add(l *view.LogLine, m mark, wait context.Context) (roomy bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for !q.append(l, m) {
		if wait == nil {
			q.suppressed++
			return false
		}
		if q.room == nil {
			q.room = make(chan struct{})
		}
		room := q.room
		q.mu.Unlock()
		select {
		case <-room:
		case <-wait.Done():
			q.mu.Lock()
			return false
		}
		q.mu.Lock()
		if wait.Err() != nil {
			return false
		}
	}
	signal(q.some)
	return q.size <= maxQueue/2
}

// append encodes a line into the last block. It returns false if there is no room.
func (q *queue) append(l *view.LogLine, m mark) bool {
	b := q.lastBlock()
	before := len(b.text)
	b.text = appendLine(b.text, l, false)
	n := len(b.text) - before
	if q.size+n > maxQueue {
		b.text = b.text[:before]
		if before == 0 { // the block is new
			q.blocks, q.spare = q.blocks[:len(q.blocks)-1], b
		}
		return false
	}
	q.size += n
	b.record(m)
	if len(b.text) >= maxBlock {
		signal(q.full)
	}
	return true
}

// lastBlock is the block that takes the next line.
func (q *queue) lastBlock() *block {
	if n := len(q.blocks); n > 0 && len(q.blocks[n-1].text) < maxBlock {
		return q.blocks[n-1]
	}
	b := q.spare
	if q.spare = nil; b == nil {
		b = &block{}
	}
	q.blocks = append(q.blocks, b)
	return b
}

func (b *block) record(m mark) {
	if m.track == nil {
		return
	}
	for i := range b.marks {
		if o := &b.marks[i]; o.track == m.track && o.stderr == m.stderr {
			o.position = m.position
			return
		}
	}
	b.marks = append(b.marks, m)
}

// take removes and returns the first block, nil if there is none. With fullOnly, it takes only a full block. The caller
// gives the block back with sent or unsent. The last block ends with a line that says how many lines were dropped.
func (q *queue) take(fullOnly bool) *block {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.blocks) == 0 || len(q.blocks[0].text) == 0 || fullOnly && len(q.blocks[0].text) < maxBlock {
		return nil
	}
	b := q.blocks[0]
	if len(q.blocks) == 1 && q.suppressed > 0 {
		before := len(b.text)
		b.text = appendLine(b.text, &view.LogLine{
			Message:   fmt.Sprintf("Warning: Suppressed %d message(s) due to high load", q.suppressed),
			Timestamp: time.Now().UnixMilli(),
			IsSystem:  true,
			IsStdErr:  true,
		}, false)
		q.size += len(b.text) - before
		q.suppressed = 0
	}
	q.blocks = append(q.blocks[:0], q.blocks[1:]...)
	return b
}

// sent gives back a block whose lines were sent.
func (q *queue) sent(b *block) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.size -= len(b.text)
	b.text, b.marks = b.text[:0], b.marks[:0]
	q.spare = b
	q.wakeWaiting()
}

// unsent gives back a block whose lines were not sent.
func (q *queue) unsent(b *block) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.blocks = append([]*block{b}, q.blocks...)
}

// clear drops all lines.
func (q *queue) clear() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, b := range q.blocks {
		q.size -= len(b.text)
	}
	q.blocks, q.spare, q.suppressed = nil, nil, 0
	q.wakeWaiting()
}

// shrink frees the memory that was kept for the next lines.
func (q *queue) shrink() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.spare = nil
}

func (q *queue) empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.blocks) == 0 || len(q.blocks[0].text) == 0
}

// wakeWaiting wakes those that wait for room. The caller holds mu.
func (q *queue) wakeWaiting() {
	if q.room != nil {
		close(q.room)
		q.room = nil
	}
}
