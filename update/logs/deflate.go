package logs

import (
	"encoding/binary"
	"hash/crc32"
	"math/bits"
)

// deflater compresses into one gzip stream (RFC 1951, 1952). It uses only the fixed codes, and looks for repetitions only in
// the last few kilobytes: the lines of a log are similar to each other. It takes 28 KB of memory, a general compressor 650.
type deflater struct {
	out  []byte // compressed bytes that were not taken yet
	acc  uint64 // bits that do not fill a byte yet, the first one lowest
	have uint   // number of bits in acc
	open bool   // a block has begun
	sum  uint32 // CRC-32 of the input
	size uint32 // length of the input, modulo 4 GiB

	data []byte // the window, and after it the current input
	base uint32 // position of data[0] in the stream
	last [1 << tableBits]uint32
}

const (
	tableBits = 12
	window    = 8 << 10 // the largest distance of a repetition, in bytes
	portion   = 4 << 10 // bytes that are compressed at once
	minMatch  = 4
	maxMatch  = 258
	endBlock  = 256
)

// newDeflater begins a stream. Position 0 means "none", so the first byte has position 1.
func newDeflater() *deflater {
	return &deflater{
		out:  []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255},
		data: make([]byte, 0, window+portion), base: 1,
	}
}

// write compresses p. A reader may not see the end of it before flush.
func (d *deflater) write(p []byte) {
	d.sum = crc32.Update(d.sum, crc32.IEEETable, p)
	d.size += uint32(len(p))
	if !d.open && len(p) > 0 {
		d.open = true
		d.bits(0b010, 3) // not the last block, fixed codes
	}
	for len(p) > 0 {
		n := min(len(p), portion)
		if over := len(d.data) + n - cap(d.data); over > 0 {
			over = len(d.data) - window
			d.data = d.data[:copy(d.data, d.data[over:])]
			d.base += uint32(over)
		}
		from := len(d.data)
		d.data = append(d.data, p[:n]...)
		d.portion(from)
		p = p[n:]
	}
}

// portion compresses data from index i on.
func (d *deflater) portion(i int) {
	for i+minMatch <= len(d.data) {
		length, distance := d.match(i)
		if length == 0 {
			d.symbol(uint(d.data[i]))
			i++
			continue
		}
		d.repeat(uint(length), uint(distance))
		i += length
	}
	for ; i < len(d.data); i++ {
		d.symbol(uint(d.data[i]))
	}
}

// match looks for an earlier repetition of the bytes at index i.
func (d *deflater) match(i int) (length, distance int) {
	word := binary.LittleEndian.Uint32(d.data[i:])
	slot := &d.last[word*2654435761>>(32-tableBits)]
	seen := int(int32(*slot - d.base))
	*slot = d.base + uint32(i)
	if seen < 0 || seen >= i || i-seen > window || binary.LittleEndian.Uint32(d.data[seen:]) != word {
		return 0, 0
	}
	length = minMatch
	for length < maxMatch && i+length < len(d.data) && d.data[seen+length] == d.data[i+length] {
		length++
	}
	return length, i - seen
}

// flush lets a reader see all input so far: it adds an empty block, which ends at a byte boundary.
func (d *deflater) flush() {
	d.endBlock()
	d.bits(0, 3)
	d.bits(0, (8-d.have)%8)
	d.out = append(d.out, 0, 0, 0xff, 0xff)
}

// finish ends the stream with an empty last block, the checksum and the length of the input.
func (d *deflater) finish() {
	d.endBlock()
	d.bits(0b011, 3) // the last block, fixed codes
	d.symbol(endBlock)
	d.bits(0, (8-d.have)%8)
	d.out = binary.LittleEndian.AppendUint32(d.out, d.sum)
	d.out = binary.LittleEndian.AppendUint32(d.out, d.size)
}

func (d *deflater) endBlock() {
	if d.open {
		d.symbol(endBlock)
		d.open = false
	}
}

// take returns the complete bytes. They are valid until the next call of another method.
func (d *deflater) take() []byte {
	p := d.out
	d.out = d.out[:0]
	return p
}

func (d *deflater) bits(value uint64, n uint) {
	d.acc |= value << d.have
	for d.have += n; d.have >= 8; d.have -= 8 {
		d.out = append(d.out, byte(d.acc))
		d.acc >>= 8
	}
}

// symbol writes a literal, a length code or the end of the block.
func (d *deflater) symbol(s uint) {
	switch {
	case s < 144:
		d.code(0x30+s, 8)
	case s < 256:
		d.code(0x190+s-144, 9)
	case s < 280:
		d.code(s-256, 7)
	default:
		d.code(0xc0+s-280, 8)
	}
}

// code writes a code of n bits, the highest bit first.
func (d *deflater) code(c, n uint) { d.bits(uint64(bits.Reverse16(uint16(c))>>(16-n)), n) }

// repeat writes a repetition: length bytes are the same as those at distance bytes before.
func (d *deflater) repeat(length, distance uint) {
	v := length - 3
	switch {
	case length == maxMatch:
		d.symbol(285)
	case v < 8:
		d.symbol(257 + v)
	default:
		extra := uint(bits.Len(v)) - 3
		d.symbol(257 + 4*extra + v>>extra)
		d.bits(uint64(v&(1<<extra-1)), extra)
	}
	v = distance - 1
	if v < 4 {
		d.code(v, 5)
		return
	}
	extra := uint(bits.Len(v)) - 2
	d.code(2*extra+v>>extra, 5)
	d.bits(uint64(v&(1<<extra-1)), extra)
}
