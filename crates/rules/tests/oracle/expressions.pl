# Reads cases from the standard input: a line with a number, the hexadecimal of an expression with delimiters, and those of
# subjects. Prints for each the number, and for each subject "start-end" of the first match, "-" for none; "!" and Perl's words
# for an expression that SpamAssassin refuses.
use strict;
use warnings;
use Mail::SpamAssassin::Util qw(compile_regexp);
$| = 1;
while (my $line = <STDIN>) {
    chomp $line;
    my ($number, $expression, @subjects) = split / /, $line;
    my ($compiled, $error) = compile_regexp(pack('H*', $expression), 1);
    if (!$compiled) {
        $error =~ s/[\r\n]+/ /g;
        print "$number ! $error\n";
        next;
    }
    my @results;
    for my $hex (@subjects) {
        my $subject = pack('H*', $hex eq '.' ? '' : $hex);
        my $result = '-';
        eval {
            local $SIG{ALRM} = sub { die "time\n" };
            alarm 5;
            $result = "$-[0]-$+[0]" if $subject =~ $compiled;
            alarm 0;
            1;
        } or do { $result = '?' };
        push @results, $result;
    }
    print join(' ', $number, @results), "\n";
}
