/*
 * Runs a small program whose scopes have names that no reader of a profile may stumble over, twice, and writes its profile
 * in every form: profile_maker TABLE TRACE FLAME. tests/cli/profiles.py reads the three files. Its exit status says no more
 * than that they were written.
 */
#include <stdio.h>

#include <ht/ht.h>

static const char *const names[] = {
    "<script>alert(1)</script>", "\"quotes' & \\ ]]>", "not \xFF\xFE UTF-8 \xC3", "controls \x01\n\t\x7F\xC2\x85",
    "\xF0\x9F\x94\xA5 \xE6\xB7\xB1",
    "a//b..c", "...", "&lt;&#0;", "\xEF\xBF\xBF\xEF\xBF\xBE", "%s %n",
    ("a name that is so long that no frame of the picture can have room for all of it, however wide its time may make it, and "
     "then goes on for a while, so that cutting it is the only way to show it at all, which is what has to happen with it here"),
};
enum { NAMES = sizeof names / sizeof names[0], NUMBERS = 2 * 8 * 16 * 16 };

static ht_program *make(ht_device *device, ht_store *store, ht_error *error)
{
    ht_tape *tape = ht_tape_new(HT_F32);
    if (!tape) return NULL;
    ht_var x = ht_input(tape, "x", HT_SHAPE(2, 8, 16, 16)), y = x;
    for (int i = 0; i < NAMES; i++) {
        ht_var w = ht_fill(tape, 0.01 * (i + 1), HT_SHAPE(8, 8, 3, 3));
        ht_scope_push(tape, names[i]);
        y = ht_tanh(ht_conv(y, w, .pad = ht_all(1)));
    }
    for (int i = 0; i < NAMES; i++) ht_scope_pop(tape);
    for (int i = 0; i < 24; i++) ht_scope_push(tape, "deep");
    ht_var loss = ht_sum(ht_square(ht_avg_pool(y, .kernel = ht_all(2))));
    ht_vars gradient = ht_grad(loss, ht_list(x));
    ht_write_one(store, "state", gradient.at[0]);
    ht_program *program = ht_compile(tape, device, ht_list(loss), .error = error, .profile = 1);
    ht_tape_free(tape);
    return program;
}

int main(int count, char **words)
{
    static float numbers[NUMBERS];
    ht_error error = {0};
    ht_device *device = ht_device_open("cpu", 1, &error);
    ht_store *store = device ? ht_store_new(device) : NULL;
    if (store) ht_store_add(store, "state", HT_F32, HT_SHAPE(2, 8, 16, 16), HT_BUFFER, &error);
    for (int i = 0; i < NUMBERS; i++) numbers[i] = (float)(i % 13) - 6;
    ht_program *program = store ? make(device, store, &error) : NULL;
    for (int run = 0; program && run < 2; run++) {
        ht_set_named(program, "x", numbers, NUMBERS);
        ht_run(program);
    }
    for (int form = 0; program && form < 3 && count == 4; form++) {
        FILE *file = fopen(words[form + 1], "wb");
        if (!file || ht_profile(program, (ht_profile_form)form, file, &error) != HT_OK || fclose(file) != 0) break;
    }
    if (error.status != HT_OK) fprintf(stderr, "profile_maker: %s\n", error.message);
    ht_program_free(program);
    ht_store_free(store);
    ht_device_close(device);
    return error.status != HT_OK || !program || count != 4;
}
