/* The mixer of a codec for tests, inside the real ALSA library: an alsa-lib "ctl" plugin.
 *
 * Field in asound.conf:
 *   directory   has a file for each control, named as in the kernel ("Capture Volume"), with its value in each channel.
 *               A control without a file does not exist. What a program sets is written to the file.
 *
 * Built by mixer.py:  gcc -shared -fPIC -O2 -DPIC -o ... mixer.c -lasound
 */

#include <alsa/asoundlib.h>
#include <alsa/control_external.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

typedef struct {
    const char *name;
    int type;
    unsigned int channels;
    long most;
} control;

/* As in sound/soc/codecs/wm8960.c and tlv320aic3x.c. */
static const control known[] = {
    {"Capture Volume", SND_CTL_ELEM_TYPE_INTEGER, 2, 63},
    {"Capture Switch", SND_CTL_ELEM_TYPE_BOOLEAN, 2, 1},
    {"Left Input Mixer Boost Switch", SND_CTL_ELEM_TYPE_BOOLEAN, 1, 1},
    {"Right Input Mixer Boost Switch", SND_CTL_ELEM_TYPE_BOOLEAN, 1, 1},
    {"PGA Capture Volume", SND_CTL_ELEM_TYPE_INTEGER, 2, 119},
};

#define KNOWN (sizeof known / sizeof known[0])

typedef struct {
    snd_ctl_ext_t ext;
    char *directory;
    unsigned int count;
    const control *there[KNOWN];
} mixer;

static void path_of(const mixer *self, const control *which, char path[PATH_MAX])
{
    snprintf(path, PATH_MAX, "%s/%s", self->directory, which->name);
}

static int on_count(snd_ctl_ext_t *ext)
{
    return (int)((mixer *)ext->private_data)->count;
}

static int on_list(snd_ctl_ext_t *ext, unsigned int offset, snd_ctl_elem_id_t *id)
{
    snd_ctl_elem_id_set_interface(id, SND_CTL_ELEM_IFACE_MIXER);
    snd_ctl_elem_id_set_name(id, ((mixer *)ext->private_data)->there[offset]->name);
    return 0;
}

static snd_ctl_ext_key_t on_find(snd_ctl_ext_t *ext, const snd_ctl_elem_id_t *id)
{
    const mixer *self = ext->private_data;
    unsigned int number = snd_ctl_elem_id_get_numid(id), at;

    if (number > 0 && number <= self->count)
        return number - 1;
    for (at = 0; at < self->count; at++)
        if (!strcmp(snd_ctl_elem_id_get_name(id), self->there[at]->name))
            return at;
    return SND_CTL_EXT_KEY_NOT_FOUND;
}

static int on_attribute(snd_ctl_ext_t *ext, snd_ctl_ext_key_t key, int *type, unsigned int *access, unsigned int *count)
{
    const control *which = ((mixer *)ext->private_data)->there[key];

    *type = which->type;
    *access = SND_CTL_EXT_ACCESS_READWRITE;
    *count = which->channels;
    return 0;
}

static int on_range(snd_ctl_ext_t *ext, snd_ctl_ext_key_t key, long *least, long *most, long *step)
{
    *least = 0;
    *most = ((mixer *)ext->private_data)->there[key]->most;
    *step = 1;
    return 0;
}

static int on_read(snd_ctl_ext_t *ext, snd_ctl_ext_key_t key, long *value)
{
    const mixer *self = ext->private_data;
    const control *which = self->there[key];
    char path[PATH_MAX];
    unsigned int channel;
    FILE *file;

    path_of(self, which, path);
    if ((file = fopen(path, "re")) == NULL)
        return -ENODEV;
    for (channel = 0; channel < which->channels; channel++)
        if (fscanf(file, "%ld", &value[channel]) != 1)
            value[channel] = 0;
    fclose(file);
    return 0;
}

static int on_write(snd_ctl_ext_t *ext, snd_ctl_ext_key_t key, long *value)
{
    const mixer *self = ext->private_data;
    const control *which = self->there[key];
    char path[PATH_MAX];
    unsigned int channel;
    FILE *file;

    path_of(self, which, path);
    if ((file = fopen(path, "we")) == NULL)
        return -ENODEV;
    for (channel = 0; channel < which->channels; channel++)
        fprintf(file, channel ? " %ld" : "%ld", value[channel]);
    fclose(file);
    return 1;
}

static int on_event(snd_ctl_ext_t *ext, snd_ctl_elem_id_t *id, unsigned int *mask)
{
    (void)ext;
    (void)id;
    (void)mask;
    return -EAGAIN;
}

static void on_close(snd_ctl_ext_t *ext)
{
    mixer *self = ext->private_data;

    free(self->directory);
    free(self);
}

static const snd_ctl_ext_callback_t callbacks = {
    .close = on_close,
    .elem_count = on_count,
    .elem_list = on_list,
    .find_elem = on_find,
    .get_attribute = on_attribute,
    .get_integer_info = on_range,
    .read_integer = on_read,
    .write_integer = on_write,
    .read_event = on_event,
};

SND_CTL_PLUGIN_DEFINE_FUNC(mixer)
{
    const char *directory = NULL, *id;
    snd_config_iterator_t i, next;
    char path[PATH_MAX];
    mixer *self;
    unsigned int at;
    int err;

    (void)root;
    snd_config_for_each(i, next, conf)
    {
        snd_config_t *field = snd_config_iterator_entry(i);

        if (snd_config_get_id(field, &id) >= 0 && !strcmp(id, "directory"))
            snd_config_get_string(field, &directory);
    }
    if (directory == NULL)
        return -EINVAL;
    self = calloc(1, sizeof *self);
    if (self == NULL || (self->directory = strdup(directory)) == NULL) {
        free(self);
        return -ENOMEM;
    }
    for (at = 0; at < KNOWN; at++) {
        path_of(self, &known[at], path);
        if (access(path, F_OK) == 0)
            self->there[self->count++] = &known[at];
    }
    self->ext.version = SND_CTL_EXT_VERSION;
    self->ext.card_idx = -1;
    strcpy(self->ext.id, "mixer");
    strcpy(self->ext.driver, "mixer");
    strcpy(self->ext.name, "test mixer");
    strcpy(self->ext.mixername, "test mixer");
    self->ext.poll_fd = -1;
    self->ext.callback = &callbacks;
    self->ext.private_data = self;
    err = snd_ctl_ext_create(&self->ext, name, mode);
    if (err < 0) {
        free(self->directory);
        free(self);
        return err;
    }
    *handlep = self->ext.handle;
    return 0;
}

SND_CTL_PLUGIN_SYMBOL(mixer);
