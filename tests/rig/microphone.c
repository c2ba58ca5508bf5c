/* A microphone for tests: a capture device inside the real ALSA library, without a sound card or a kernel module.
 *
 * It is an alsa-lib "ioplug" plugin, and behaves like a sound card:
 *   - it runs by CLOCK_MONOTONIC, and its pointer moves in whole periods, as a DMA pointer does;
 *   - a program that does not read for a whole buffer gets a real overrun (-EPIPE), and the sound of that time is lost;
 *   - unplugged, it answers -ENODEV to everything until it is opened again after plugging in.
 *
 * Fields in asound.conf (all optional):
 *   rate, channels, bits   the only ones that the device supports: 16000, 1, 16 (or 32; or 24, which are the upper
 *                          three bytes of four)
 *   offset                 a constant in all samples of the first channel, in steps of 24 bits; needs 24 bits. The other
 *                          channels are silent then, as with one microphone on the wire for two
 *   fifo                   raw interleaved PCM in the device's own format; while it is empty, noise of at most one
 *                          step up or down, which a real microphone always has
 *   clock                  1: each sample is the number of its own frame since CLOCK_MONOTONIC's zero, at the
 *                          device's rate, modulo 65536 (16 bits; with 32 bits in the upper half). So a reader can tell
 *                          when a sample was recorded, to one frame, and which frames are missing.
 *   levers                 a directory; while a file of one of these names exists in it,
 *       unplugged              the device is gone (-ENODEV)
 *       busy                   it cannot be opened (-EBUSY)
 *       hung                   opening and closing it blocks
 *       frozen                 it stands still without an error
 *       slow                   its clock needs ten seconds for nine; the file must exist before it is opened
 *       storm                  every second read, at random, finds an overrun (-EPIPE)
 *       mute                   each sample is the number in the file
 *
 * Built by microphone.py:  gcc -shared -fPIC -O2 -DPIC -o ... microphone.c -lasound
 */

#include <alsa/asoundlib.h>
#include <alsa/pcm_external.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define SECOND_NS 1000000000LL

/* The timer is set to this long after the edge of a period: before the edge it would wake a reader for nothing. */
#define AFTER_EDGE_NS 100000

typedef struct {
    snd_pcm_ioplug_t io;
    int timer_fd;
    int fifo_fd; /* -1: none */
    int clock;
    int32_t offset; /* in the device's own format */
    char *levers; /* NULL: none */
    uint32_t chance;
    int overrun; /* the next read finds one; drawn anew after each */
    int64_t started_ns; /* CLOCK_MONOTONIC, of frame 0 */
    int64_t moved;      /* frames up to the pointer, when it was last looked at */
    int64_t consumed;   /* frames handed out */
} microphone;

static int64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * SECOND_NS + now.tv_nsec;
}

static int64_t frames_in(int64_t ns, unsigned int rate)
{
    return (int64_t)((__int128)ns * rate / SECOND_NS);
}

static int pulled(const char *levers, const char *name, char path[PATH_MAX])
{
    return levers != NULL && snprintf(path, PATH_MAX, "%s/%s", levers, name) < PATH_MAX && access(path, F_OK) == 0;
}

static int is(const char *levers, const char *name)
{
    char path[PATH_MAX];

    return pulled(levers, name, path);
}

static void wait_while_hung(const char *levers)
{
    while (is(levers, "hung"))
        usleep(5000);
}

static uint32_t next_chance(microphone *mic)
{
    mic->chance = mic->chance * 1664525 + 1013904223;
    return mic->chance >> 16;
}

/* Frames captured since the start, in whole periods. */
static int64_t captured(microphone *mic)
{
    int64_t frames;

    if (!is(mic->levers, "frozen")) {
        frames = frames_in(now_ns() - mic->started_ns, mic->io.rate);
        if (is(mic->levers, "slow"))
            frames = frames * 9 / 10;
        mic->moved = frames - frames % (int64_t)mic->io.period_size;
    }
    return mic->moved;
}

static int period_ready(microphone *mic)
{
    return captured(mic) - mic->consumed >= (int64_t)mic->io.period_size;
}

static size_t frame_bytes(const microphone *mic)
{
    return mic->io.channels * (snd_pcm_format_physical_width(mic->io.format) / 8);
}

static void clear_timer(microphone *mic)
{
    uint64_t expirations;

    if (read(mic->timer_fd, &expirations, sizeof expirations) < 0) {
        /* Nothing had expired, which is fine. */
    }
}

static void set_timer(microphone *mic, int running)
{
    struct itimerspec timer = {{0, 0}, {0, 0}};
    int64_t period_ns, first_ns;

    if (running) {
        period_ns = (int64_t)mic->io.period_size * SECOND_NS / mic->io.rate;
        first_ns = mic->started_ns + period_ns + AFTER_EDGE_NS;
        timer.it_interval.tv_sec = period_ns / SECOND_NS;
        timer.it_interval.tv_nsec = period_ns % SECOND_NS;
        timer.it_value.tv_sec = first_ns / SECOND_NS;
        timer.it_value.tv_nsec = first_ns % SECOND_NS;
    }
    timerfd_settime(mic->timer_fd, TFD_TIMER_ABSTIME, &timer, NULL);
}

/* Speech is lost while nobody reads, as with a sound card: the FIFO must not deliver it later. */
static void lose(microphone *mic, int64_t frames)
{
    char lost[4096];
    int64_t bytes = frames * (int64_t)frame_bytes(mic);
    ssize_t got;

    while (mic->fifo_fd >= 0 && bytes > 0) {
        got = read(mic->fifo_fd, lost, bytes < (int64_t)sizeof lost ? (size_t)bytes : sizeof lost);
        if (got <= 0)
            break;
        bytes -= got;
    }
}

static int on_prepare(snd_pcm_ioplug_t *io)
{
    microphone *mic = io->private_data;

    if (is(mic->levers, "unplugged"))
        return -ENODEV;
    if (io->state == SND_PCM_STATE_XRUN)
        lose(mic, captured(mic) - mic->consumed);
    set_timer(mic, 0);
    clear_timer(mic);
    mic->moved = mic->consumed = 0;
    mic->overrun = next_chance(mic) & 1;
    return 0;
}

static int on_start(snd_pcm_ioplug_t *io)
{
    microphone *mic = io->private_data;

    mic->started_ns = now_ns();
    mic->moved = mic->consumed = 0;
    set_timer(mic, 1);
    return 0;
}

static int on_stop(snd_pcm_ioplug_t *io)
{
    set_timer(io->private_data, 0);
    return 0;
}

static snd_pcm_sframes_t on_pointer(snd_pcm_ioplug_t *io)
{
    microphone *mic = io->private_data;
    int64_t frames;

    if (is(mic->levers, "unplugged")) {
        snd_pcm_ioplug_set_state(io, SND_PCM_STATE_DISCONNECTED);
        return -ENODEV;
    }
    if (io->state != SND_PCM_STATE_RUNNING)
        return mic->consumed % io->buffer_size;
    frames = captured(mic);
    if (frames - mic->consumed >= (int64_t)io->buffer_size)
        return -EPIPE;
    if (mic->overrun && is(mic->levers, "storm"))
        return -EPIPE;
    return frames % io->buffer_size;
}

/* Write the same sample to all channels. */
static void fill(microphone *mic, char *to, snd_pcm_uframes_t frames, int sample)
{
    unsigned int channel;

    for (channel = 0; channel < mic->io.channels; channel++) {
        if (mic->io.format == SND_PCM_FORMAT_S32_LE)
            ((uint32_t *)to)[frames * mic->io.channels + channel] = (uint32_t)sample << 16;
        else
            ((int16_t *)to)[frames * mic->io.channels + channel] = (int16_t)sample;
    }
}

static void fill_from_clock(microphone *mic, char *to, snd_pcm_uframes_t frames)
{
    int64_t number = frames_in(mic->started_ns, mic->io.rate) + mic->consumed;
    snd_pcm_uframes_t frame;

    for (frame = 0; frame < frames; frame++, number++)
        fill(mic, to, frame, (int)(number & 0xffff));
}

static void fill_from_fifo(microphone *mic, char *to, snd_pcm_uframes_t frames)
{
    size_t bytes = frames * frame_bytes(mic), filled = 0;
    ssize_t got = 1;

    while (mic->fifo_fd >= 0 && filled < bytes && got > 0) {
        got = read(mic->fifo_fd, to + filled, bytes - filled);
        filled += got > 0 ? (size_t)got : 0;
    }
    /* An incomplete frame is left out: a test never speaks a part of one. */
    for (filled = (filled + frame_bytes(mic) - 1) / frame_bytes(mic); filled < frames; filled++)
        fill(mic, to, filled, (int)(next_chance(mic) % 3) - 1);
}

/* Add the offset, limited to full scale, and clear what the device does not have: the low byte, the other channels. */
static void displace(microphone *mic, char *to, snd_pcm_uframes_t frames)
{
    int32_t *samples = (int32_t *)to;
    snd_pcm_uframes_t sample;
    int64_t moved;

    if (mic->offset == 0)
        return;
    for (sample = 0; sample < frames * mic->io.channels; sample++) {
        moved = sample % mic->io.channels ? 0 : (int64_t)samples[sample] + mic->offset;
        samples[sample] = (int32_t)(moved > INT32_MAX ? INT32_MAX : moved < INT32_MIN ? INT32_MIN : moved) & ~0xff;
    }
}

static void mute(microphone *mic, char *to, snd_pcm_uframes_t frames)
{
    char path[PATH_MAX];
    snd_pcm_uframes_t frame;
    int sample = 0;
    FILE *lever;

    if (!pulled(mic->levers, "mute", path) || (lever = fopen(path, "re")) == NULL)
        return;
    if (fscanf(lever, "%d", &sample) != 1)
        sample = 0;
    fclose(lever);
    for (frame = 0; frame < frames; frame++)
        fill(mic, to, frame, sample);
}

static snd_pcm_sframes_t on_transfer(snd_pcm_ioplug_t *io, const snd_pcm_channel_area_t *areas,
                                     snd_pcm_uframes_t offset, snd_pcm_uframes_t frames)
{
    microphone *mic = io->private_data;
    char *to = (char *)areas[0].addr + (areas[0].first + areas[0].step * offset) / 8;

    if (is(mic->levers, "unplugged"))
        return -ENODEV;
    if (mic->clock)
        fill_from_clock(mic, to, frames);
    else
        fill_from_fifo(mic, to, frames);
    displace(mic, to, frames);
    mute(mic, to, frames);
    mic->consumed += (int64_t)frames;
    mic->overrun = next_chance(mic) & 1;
    if (!period_ready(mic))
        clear_timer(mic);
    return (snd_pcm_sframes_t)frames;
}

static int on_poll_revents(snd_pcm_ioplug_t *io, struct pollfd *fds, unsigned int count, unsigned short *revents)
{
    microphone *mic = io->private_data;

    (void)count;
    *revents = 0;
    if (is(mic->levers, "unplugged")) {
        snd_pcm_ioplug_set_state(io, SND_PCM_STATE_DISCONNECTED);
        *revents = POLLERR;
    } else if (fds[0].revents & POLLIN) {
        if (period_ready(mic))
            *revents = POLLIN;
        else
            clear_timer(mic);
    }
    return 0;
}

static void release(microphone *mic)
{
    if (mic->timer_fd >= 0)
        close(mic->timer_fd);
    if (mic->fifo_fd >= 0)
        close(mic->fifo_fd);
    free(mic->levers);
    free(mic);
}

static int on_close(snd_pcm_ioplug_t *io)
{
    microphone *mic = io->private_data;

    wait_while_hung(mic->levers);
    release(mic);
    return 0;
}

static const snd_pcm_ioplug_callback_t callbacks = {
    .start = on_start,
    .stop = on_stop,
    .pointer = on_pointer,
    .transfer = on_transfer,
    .prepare = on_prepare,
    .poll_revents = on_poll_revents,
    .close = on_close,
};

/* Allow the one rate, channel count and format of this device, and any period and buffer that a program may ask for. */
static int set_limits(microphone *mic, long rate, long channels, long bits)
{
    const unsigned int access[] = {SND_PCM_ACCESS_RW_INTERLEAVED, SND_PCM_ACCESS_MMAP_INTERLEAVED};
    const unsigned int format[] = {bits > 16 ? SND_PCM_FORMAT_S32_LE : SND_PCM_FORMAT_S16_LE};
    snd_pcm_ioplug_t *io = &mic->io;
    int err = 0;

    if (err >= 0)
        err = snd_pcm_ioplug_set_param_list(io, SND_PCM_IOPLUG_HW_ACCESS, 2, access);
    if (err >= 0)
        err = snd_pcm_ioplug_set_param_list(io, SND_PCM_IOPLUG_HW_FORMAT, 1, format);
    if (err >= 0)
        err = snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_CHANNELS, channels, channels);
    if (err >= 0)
        err = snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_RATE, rate, rate);
    if (err >= 0)
        err = snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_PERIOD_BYTES, 64, 1 << 18);
    if (err >= 0)
        err = snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_PERIODS, 2, 256);
    return err;
}

SND_PCM_PLUGIN_DEFINE_FUNC(microphone)
{
    const char *fifo = NULL, *levers = NULL, *id;
    long rate = 16000, channels = 1, bits = 16, clock = 0, offset = 0;
    snd_config_iterator_t i, next;
    snd_config_t *field;
    microphone *mic;
    int err;

    (void)root;
    snd_config_for_each(i, next, conf)
    {
        field = snd_config_iterator_entry(i);
        if (snd_config_get_id(field, &id) < 0 || !strcmp(id, "comment") || !strcmp(id, "type") || !strcmp(id, "hint"))
            continue;
        if (!strcmp(id, "fifo"))
            err = snd_config_get_string(field, &fifo);
        else if (!strcmp(id, "levers"))
            err = snd_config_get_string(field, &levers);
        else if (!strcmp(id, "rate"))
            err = snd_config_get_integer(field, &rate);
        else if (!strcmp(id, "channels"))
            err = snd_config_get_integer(field, &channels);
        else if (!strcmp(id, "bits"))
            err = snd_config_get_integer(field, &bits);
        else if (!strcmp(id, "offset"))
            err = snd_config_get_integer(field, &offset);
        else if (!strcmp(id, "clock"))
            err = snd_config_get_integer(field, &clock);
        else
            err = -EINVAL;
        if (err < 0) {
            SNDERR("microphone: bad field %s", id);
            return err;
        }
    }
    if (stream != SND_PCM_STREAM_CAPTURE)
        return -EINVAL;
    wait_while_hung(levers);
    if (is(levers, "unplugged"))
        return -ENODEV;
    if (is(levers, "busy"))
        return -EBUSY;

    mic = calloc(1, sizeof *mic);
    if (mic == NULL)
        return -ENOMEM;
    mic->clock = clock != 0;
    mic->offset = bits == 24 ? (int32_t)(offset * 256) : 0;
    mic->levers = levers ? strdup(levers) : NULL;
    mic->chance = 1;
    mic->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    /* Open it for reading and writing, so that it never ends when a writer closes it. */
    mic->fifo_fd = fifo ? open(fifo, O_RDWR | O_NONBLOCK | O_CLOEXEC) : -1;
    if (mic->timer_fd < 0 || (fifo && mic->fifo_fd < 0)) {
        err = -errno;
        release(mic);
        return err;
    }

    mic->io.version = SND_PCM_IOPLUG_VERSION;
    mic->io.name = "test microphone";
    mic->io.callback = &callbacks;
    mic->io.private_data = mic;
    mic->io.poll_fd = mic->timer_fd;
    mic->io.poll_events = POLLIN;
    err = snd_pcm_ioplug_create(&mic->io, name, stream, mode);
    if (err < 0) {
        release(mic);
        return err;
    }
    err = set_limits(mic, rate, channels, bits);
    if (err < 0) {
        snd_pcm_ioplug_delete(&mic->io); /* calls on_close */
        return err;
    }
    *pcmp = mic->io.pcm;
    return 0;
}

SND_PCM_PLUGIN_SYMBOL(microphone);
