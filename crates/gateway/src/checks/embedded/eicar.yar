// The EICAR test file: 68 characters that every scanner takes for a virus and that harm nobody. It counts where it
// stands on a line of its own, in a file or in the text of a mail, and not where somebody quotes it in a sentence.
rule eicar_test_file {
    meta:
        name = "Eicar-Test-Signature"
    strings:
        $line = /(^|[\r\n])[ \t]*X5O!P%@AP\[4\\PZX54\(P\^\)7CC\)7\}\$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!\$H\+H\*[ \t]*([\r\n\x1a\x00]|$)/
    condition:
        $line
}
